//! Rules for names of topics, and for names and values of attributes.

/// The longest name of a topic or queue, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// The longest name of a tenant, in bytes.
const TENANT_BYTES_MAX: usize = 63;

/// Attributes whose names start so belong to the host: neither publishers nor guests can set them.
pub const RESERVED_PREFIX: &str = "Wasmpost-";

/// Whether an attribute's name belongs to the host, in any spelling.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::{RESERVED_PREFIX, is_reserved};
///
/// assert!(is_reserved(&format!("{RESERVED_PREFIX}Id")) && is_reserved("wasmpost-id"));
/// assert!(!is_reserved("Content-Type"));
/// ```
pub fn is_reserved(name: &str) -> bool {
    name.get(..RESERVED_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(RESERVED_PREFIX))
}

/// The reason why a publisher may not set an attribute, if there is one. A name is a token of RFC 7230, as in headers
/// of HTTP and mail, and not reserved; a value has no carriage return, line feed or NUL, which would end a header.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::attribute_fault;
///
/// assert_eq!(attribute_fault("Content-Type", "text/plain"), None);
/// assert!(attribute_fault("two words", "").is_some());
/// assert!(attribute_fault("wasmpost-id", "7").is_some_and(|fault| fault.contains("reserved")));
/// ```
pub fn attribute_fault(name: &str, value: &str) -> Option<String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        let shown = short(name);
        return Some(format!("attribute name {shown:?} is not letters, digits or any of !#$%&'*+-.^_`|~"));
    }
    if is_reserved(name) {
        return Some(format!("attribute name {name:?} is reserved for the host"));
    }
    let ends_header = value.contains(['\r', '\n', '\0']);
    ends_header.then(|| format!("value of attribute {name:?} has a carriage return, line feed or NUL"))
}

/// The reason why the name of a topic or queue is invalid, if it is. A name that belongs to a tenant is its name within
/// the tenant behind `@`, the tenant's name and a slash: `@acme/orders`.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::{qualified, tenant_of, topic_name_fault};
///
/// assert_eq!(topic_name_fault("orders.new"), None);
/// assert!(topic_name_fault("two words").is_some());
///
/// let name = qualified(Some("acme"), "orders");
/// assert_eq!(name, "@acme/orders");
/// assert_eq!(tenant_of(&name), Some("acme"));
/// assert_eq!(topic_name_fault(&name), None);
/// ```
pub fn topic_name_fault(name: &str) -> Option<String> {
    let Some(qualified) = name.strip_prefix('@') else { return plain_name_fault(name) };
    let Some((tenant, within)) = qualified.split_once('/') else {
        return Some(format!("name {:?} has no slash behind the tenant: write @tenant/name", short(name)));
    };
    tenant_name_fault(tenant).or_else(|| plain_name_fault(within))
}

/// The reason why the name of a tenant is invalid, if it is.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::tenant_name_fault;
///
/// assert_eq!(tenant_name_fault("acme"), None);
/// assert!(tenant_name_fault("acme/orders").is_some());
/// ```
pub fn tenant_name_fault(name: &str) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_name = !name.is_empty() && name.len() <= TENANT_BYTES_MAX && name.bytes().all(fits);
    (!is_name || name == "." || name == "..").then(|| {
        format!("tenant name {:?} is not 1 to {TENANT_BYTES_MAX} letters, digits or any of . _ -", short(name))
    })
}

/// The name that a topic or queue of a tenant has outside of it.
pub fn qualified(tenant: Option<&str>, name: &str) -> String {
    tenant.map_or_else(|| name.to_owned(), |tenant| format!("@{tenant}/{name}"))
}

/// The tenant that a topic or queue belongs to, if it belongs to one.
pub fn tenant_of(name: &str) -> Option<&str> {
    name.strip_prefix('@')?.split_once('/').map(|(tenant, _)| tenant)
}

fn plain_name_fault(name: &str) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
        let shown = short(name);
        return Some(format!("name {shown:?} is not 1 to {NAME_BYTES_MAX} letters, digits or any of . _ - / :"));
    }
    let stays = name.split('/').all(|part| part != ".." && part != ".");
    (!stays).then(|| format!("name {name:?} has a part that is . or .."))
}

/// As much of a name as is worth showing.
fn short(name: &str) -> String {
    name.chars().take(40).collect()
}
