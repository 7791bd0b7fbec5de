//! Which names and values attributes may have.

/// Attributes whose names start so belong to the host: neither publishers nor guests can set them.
pub const RESERVED_PREFIX: &str = "Wasmpost-";

/// Whether an attribute's name belongs to the host, in any spelling.
pub fn is_reserved(name: &str) -> bool {
    name.get(..RESERVED_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(RESERVED_PREFIX))
}

/// What keeps a publisher from setting an attribute, if something does. A name is a token of RFC 7230, as in headers of
/// HTTP and mail, and not reserved; a value has no carriage return, line feed or NUL, which would end a header.
pub fn attribute_fault(name: &str, value: &str) -> Option<String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        let shown: String = name.chars().take(40).collect();
        return Some(format!("attribute name {shown:?} is not letters, digits or any of !#$%&'*+-.^_`|~"));
    }
    if is_reserved(name) {
        return Some(format!("attribute name {name:?} is reserved for the host"));
    }
    let ends_header = value.contains(['\r', '\n', '\0']);
    ends_header.then(|| format!("value of attribute {name:?} has a carriage return, line feed or NUL"))
}
