//! The limits of one delivery to a guest. The only place where a limit is declared.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::quantity::{Size, Span};

/// A limit, for documentation.
///
/// # Examples
///
/// ```
/// use wasmpost_sandbox::{LimitRow, Limits};
///
/// let rows: Vec<LimitRow> = Limits::table();
/// let memory = rows.iter().find(|row| row.name == "memory").expect("memory is limited");
/// println!("{}: {} ({})", memory.name, memory.doc, memory.default);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitRow {
    /// The name, as in the configuration.
    pub name: &'static str,
    /// The default, as in the configuration.
    pub default: String,
    /// The quantity that it bounds.
    pub doc: &'static str,
}

macro_rules! limits {
    ($(#[doc = $doc:literal] $name:ident: $type:ty = $default:expr,)*) => {
        /// The limits of one delivery to a guest.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct Limits { $(#[doc = $doc] pub $name: $type,)* }

        /// Caps on limits; what is not named is not capped.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct LimitCaps { $(#[doc = $doc] pub $name: Option<$type>,)* }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Limits {
            /// Every limit there is.
            ///
            /// # Examples
            ///
            /// ```
            /// use wasmpost_sandbox::Limits;
            ///
            /// assert!(Limits::table().iter().any(|row| row.name == "cpu" && row.default == "2s"));
            /// ```
            pub fn table() -> Vec<LimitRow> {
                let default = Self::default();
                vec![$(LimitRow {
                    name: stringify!($name),
                    default: default.$name.to_string(),
                    doc: $doc.trim_ascii(),
                },)*]
            }

            /// Each limit by name, as in the configuration.
            pub fn values(&self) -> Vec<(&'static str, String)> {
                vec![$((stringify!($name), self.$name.to_string()),)*]
            }

            /// The lower of each limit and its cap.
            ///
            /// # Examples
            ///
            /// ```
            /// use wasmpost_sandbox::{LimitCaps, Limits};
            ///
            /// let limits = Limits { memory: "128MiB".parse()?, ..Limits::default() };
            /// let caps = LimitCaps { memory: Some("64MiB".parse()?), ..LimitCaps::default() };
            /// assert_eq!(limits.capped_by(&caps), Limits::default());
            /// # Ok::<(), String>(())
            /// ```
            #[must_use]
            pub fn capped_by(&self, caps: &LimitCaps) -> Limits {
                Limits { $($name: caps.$name.map_or(self.$name, |cap| self.$name.min(cap)),)* }
            }
        }
    };
}

limits! {
    /// Time from the start of a call to its end.
    wall: Span = Span(Duration::from_secs(30)),
    /// CPU time of a call.
    cpu: Span = Span(Duration::from_secs(2)),
    /// All linear memories of the guest together.
    memory: Size = Size(64 << 20),
    /// Elements of all tables of the guest together.
    table_elements: u32 = 20_000,
    /// The body of a message that is delivered.
    body: Size = Size(4 << 20),
    /// Messages that a delivery publishes.
    publish_messages: u32 = 100,
    /// Bodies and attributes of all messages that a delivery publishes, each value with 24 bytes more.
    publish_bytes: Size = Size(4 << 20),
    /// The body of one message that a delivery publishes.
    publish_message_bytes: Size = Size(1 << 20),
    /// Publishes that are refused to a delivery for want of a grant; one more ends it.
    refusals: u32 = 100,
    /// The text of a returned error; what is longer is cut.
    error_text: Size = Size(4 << 10),
    /// Bytes that a delivery writes to the log; the rest is counted and dropped.
    log_bytes: Size = Size(64 << 10),
    /// Lines that a delivery writes to the log; the rest is counted and dropped.
    log_lines: u32 = 256,
    /// Handles to resources that the guest holds at a time.
    handles: u32 = 1024,
    /// Attributes of one message that a delivery publishes.
    attributes: u32 = 64,
    /// The name of one attribute.
    attribute_name_bytes: Size = Size(256),
    /// One value of an attribute.
    attribute_value_bytes: Size = Size(4 << 10),
    /// Names and values of all attributes of one message.
    attributes_bytes: Size = Size(32 << 10),
    /// Receivers that a message may have come through; one more is a loop.
    hops: u32 = 16,
    /// HTTP requests that a delivery makes, refused ones included.
    http_requests: u32 = 32,
    /// HTTP requests whose response is awaited or read at a time.
    http_open: u32 = 6,
    /// The body of one HTTP request, and that of one response.
    http_body: Size = Size(4 << 20),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_lowers_what_is_above_it_and_nothing_else() {
        let caps =
            LimitCaps { cpu: Some(Span(Duration::from_secs(1))), publish_messages: Some(500), ..LimitCaps::default() };
        let capped = Limits::default().capped_by(&caps);
        assert_eq!(capped, Limits { cpu: Span(Duration::from_secs(1)), ..Limits::default() });
    }

    #[test]
    fn the_table_tells_name_default_and_meaning_of_every_limit() {
        let table = Limits::table();
        assert!(table.iter().all(|row| row.doc.ends_with('.') && !row.default.is_empty()));
        let memory = table.iter().find(|row| row.name == "memory").unwrap();
        assert_eq!(memory.default, "64MiB");
    }
}
