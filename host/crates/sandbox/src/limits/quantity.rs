//! Sizes and times as people write them: `64MiB`, `30s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes, written like `64MiB` or `1000`.
///
/// # Examples
///
/// ```
/// use wasmpost_sandbox::Size;
///
/// let size: Size = "64MiB".parse()?;
/// assert_eq!((size, size.bytes()), (Size(64 << 20), 67_108_864));
/// assert_eq!(Size(1500).to_string(), "1500B");
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// A span of time, written like `30s` or `1m 30s`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use wasmpost_sandbox::Span;
///
/// assert_eq!("1m 30s".parse(), Ok(Span(Duration::from_secs(90))));
/// assert_eq!(Span(Duration::from_millis(250)).to_string(), "250ms");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

impl Size {
    /// The number of bytes, as far as the machine can address them.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
            .into_iter()
            .find(|(unit, _)| self.0 >= *unit && self.0.is_multiple_of(*unit))
            .unwrap_or((1, "B"));
        write!(formatter, "{}{name}", self.0 / unit)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(formatter)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size: bytesize::ByteSize =
            text.parse().map_err(|_| format!("{text:?} is not a size such as \"64MiB\" or \"1000\""))?;
        Ok(Self(size.as_u64()))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span = humantime::parse_duration(text);
        span.map(Self).map_err(|error| format!("{text:?} is not a time such as \"30s\" or \"1m 30s\": {error}"))
    }
}

macro_rules! as_text {
    ($type:ident, $name:literal, $description:literal, $example:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $description, "examples": [$example] })
            }
        }
    };
}

as_text!(Size, "Size", "A number of bytes with a unit: B, KiB, MiB, GiB, or KB, MB, GB in powers of ten.", "64MiB");
as_text!(Span, "Span", "A span of time: numbers with the units ms, s, m, h, days.", "1m 30s");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_are_written_as_they_are_read() {
        for text in ["64MiB", "4KiB", "1GiB", "1500B", "0B"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        for text in ["30s", "1m 30s", "2ms"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("1000".parse(), Ok(Size(1000)));
    }

    #[test]
    fn what_is_no_size_or_span_is_named() {
        assert!("64 apples".parse::<Size>().unwrap_err().contains("64 apples"));
        assert!("soon".parse::<Span>().unwrap_err().contains("soon"));
    }
}
