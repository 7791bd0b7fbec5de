//! How large messages may be, whatever the broker: checked where they are published, and for guests at the call already.

use std::time::Duration;

/// The largest body, in bytes.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::{ATTRIBUTE_VALUES_MAX, ATTRIBUTES_BYTES_MAX, BODY_BYTES_MAX};
///
/// // 64 MiB of body, 256 KiB of attributes in at most 1024 values.
/// assert_eq!(BODY_BYTES_MAX, 64 * 1024 * 1024);
/// assert_eq!(ATTRIBUTES_BYTES_MAX, 256 * 1024);
/// assert_eq!(ATTRIBUTE_VALUES_MAX, 1024);
/// ```
pub const BODY_BYTES_MAX: usize = 64 << 20;
/// The most bytes of all names and values of attributes together.
pub const ATTRIBUTES_BYTES_MAX: usize = 256 << 10;
/// The most values that all attributes have together. A value takes memory and time however short it is.
pub const ATTRIBUTE_VALUES_MAX: usize = 1024;
/// The longest delay or time to live: ten years.
pub const DELAY_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// The longest id or ordering key, in bytes.
const ID_BYTES_MAX: usize = 512;
/// As much of an id as is worth showing.
const SHOWN_CHARS_MAX: usize = 40;

/// The reason why an id or an ordering key is invalid, if it is. `what` names it.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::id_fault;
///
/// assert_eq!(id_fault("id", "order-1"), None);
/// assert!(id_fault("ordering key", "two\nlines").is_some_and(|fault| fault.starts_with("ordering key")));
/// ```
pub fn id_fault(what: &str, value: &str) -> Option<String> {
    let fits = !value.is_empty() && value.len() <= ID_BYTES_MAX && !value.chars().any(char::is_control);
    (!fits).then(|| {
        let shown: String = value.chars().take(SHOWN_CHARS_MAX).collect();
        format!("{what} {shown:?} is not 1 to {ID_BYTES_MAX} bytes of text without control characters")
    })
}

/// The reason why a delay or a time to live is invalid, if it is. `what` names it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use wasmpost_msg::{DELAY_MAX, delay_fault};
///
/// assert_eq!(delay_fault("delay", DELAY_MAX), None);
/// assert!(delay_fault("ttl", DELAY_MAX + Duration::from_secs(1)).is_some());
/// ```
pub fn delay_fault(what: &str, delay: Duration) -> Option<String> {
    (delay.as_secs() > DELAY_MAX.as_secs()).then(|| format!("{what} is over the limit of ten years"))
}
