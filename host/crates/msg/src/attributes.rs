//! Attributes: the key-value metadata of a message.

use std::fmt;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The metadata of a message: names, each with one or more values, in the order in which they were set.
///
/// Names are case-insensitive and kept in the canonical form of MIME header keys (`content-type` is `Content-Type`).
/// The original spelling is kept beside the canonical one ([`Attributes::iter_spelled`]), because the headers of some
/// brokers are case-sensitive. Cloning is cheap: the entries are shared until one side changes them.
///
/// The sums of bytes and values are kept, so that asking for them costs the same however many there are.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::Attributes;
///
/// let mut attributes = Attributes::new();
/// attributes.set("content-type", "application/json");
/// attributes.append("Tag", "new");
/// attributes.append("tag", "urgent");
///
/// assert_eq!(attributes.get("Content-Type"), Some("application/json"));
/// assert_eq!(attributes.values("TAG"), ["new", "urgent"]);
/// assert_eq!(attributes.bytes(), "Content-Type".len() + "application/json".len() + "Tag".len() + "newurgent".len());
/// ```
#[derive(Clone, Default)]
pub struct Attributes {
    entries: Arc<Vec<Entry>>,
    bytes: usize,
    values: usize,
}

#[derive(Clone, PartialEq, Eq)]
struct Entry {
    name: String,
    /// The name as it was written, where that differs from the canonical form.
    spelling: Option<String>,
    values: Vec<String>,
}

impl Attributes {
    /// No attributes.
    pub fn new() -> Self {
        Self::default()
    }

    /// The first value of a name, if it has one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values(name).first().map(String::as_str)
    }

    /// All values of a name, in order; empty where there are none.
    pub fn values(&self, name: &str) -> &[String] {
        self.position(name).and_then(|at| self.entries.get(at)).map_or(&[], |entry| &entry.values)
    }

    /// Replaces all values of a name by one.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.set_all(name, vec![value.into()]);
    }

    /// Replaces all values of a name. With no values, the name is removed.
    pub fn set_all(&mut self, name: &str, values: Vec<String>) {
        if values.is_empty() {
            self.remove(name);
            return;
        }
        let bytes = length_of(&values);
        let count = values.len();
        let Some(entry) = self.entry_mut(name) else { return };
        let before = std::mem::replace(&mut entry.values, values);
        self.bytes = self.bytes - length_of(&before) + bytes;
        self.values = self.values - before.len() + count;
    }

    /// Adds a value behind those that the name already has.
    pub fn append(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        let bytes = value.len();
        let Some(entry) = self.entry_mut(name) else { return };
        entry.values.push(value);
        self.bytes += bytes;
        self.values += 1;
    }

    /// Removes a name and gives back the values that it had.
    pub fn remove(&mut self, name: &str) -> Vec<String> {
        let Some(at) = self.position(name) else { return Vec::new() };
        let Entry { name, values, .. } = Arc::make_mut(&mut self.entries).remove(at);
        self.bytes -= name.len() + length_of(&values);
        self.values -= values.len();
        values
    }

    /// Keeps only the names, in canonical form, that `is_kept` says yes to.
    pub fn retain(&mut self, is_kept: impl Fn(&str) -> bool) {
        // Looked for first: entries that are shared are copied only if one of them goes.
        if self.entries.iter().all(|entry| is_kept(&entry.name)) {
            return;
        }
        let entries = Arc::make_mut(&mut self.entries);
        entries.retain(|entry| is_kept(&entry.name));
        self.bytes = entries.iter().map(|entry| entry.name.len() + length_of(&entry.values)).sum();
        self.values = entries.iter().map(|entry| entry.values.len()).sum();
    }

    /// Names in canonical form, with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.entries.iter().map(|entry| (entry.name.as_str(), entry.values.as_slice()))
    }

    /// Names as they were first written, with their values.
    pub fn iter_spelled(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.entries.iter().map(|entry| (entry.spelling.as_deref().unwrap_or(&entry.name), entry.values.as_slice()))
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no attributes.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of all names and values together.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many values all names have together.
    pub fn values_len(&self) -> usize {
        self.values
    }

    fn position(&self, name: &str) -> Option<usize> {
        // Most look-ups use the canonical form already: compare before building it.
        self.entries.iter().position(|entry| entry.name == name).or_else(|| {
            // The canonical form is as long as the name: one that no entry is as long as need not be brought into it.
            let is_possible = self.entries.iter().any(|entry| entry.name.len() == name.len());
            let canonical = is_possible.then(|| canonical_name(name))?;
            self.entries.iter().position(|entry| entry.name == canonical)
        })
    }

    fn entry_mut(&mut self, name: &str) -> Option<&mut Entry> {
        let at = self.position(name);
        let entries = Arc::make_mut(&mut self.entries);
        let at = at.unwrap_or_else(|| {
            let canonical = canonical_name(name);
            let spelling = (canonical != name).then(|| name.to_owned());
            self.bytes += canonical.len();
            entries.push(Entry { name: canonical, spelling, values: Vec::new() });
            entries.len() - 1
        });
        entries.get_mut(at)
    }
}

fn length_of(values: &[String]) -> usize {
    values.iter().map(String::len).sum()
}

/// The canonical form of a name, as MIME header keys have it: the first letter and every letter behind a hyphen in
/// upper case, the others in lower case. A name with a space or another byte that is no token stays as it is.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::canonical_name;
///
/// assert_eq!(canonical_name("x-request-ID"), "X-Request-Id");
/// assert_eq!(canonical_name("two words"), "two words");
/// ```
pub fn canonical_name(name: &str) -> String {
    if !name.bytes().all(is_token) {
        return name.to_owned();
    }
    let mut upper = true;
    name.chars()
        .map(|letter| {
            let cased = if upper { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
            upper = letter == '-';
            cased
        })
        .collect()
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl PartialEq for Attributes {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Attributes {}

impl fmt::Debug for Attributes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}

impl<N: AsRef<str>, V: Into<String>> Extend<(N, V)> for Attributes {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, pairs: I) {
        for (name, value) in pairs {
            self.append(name.as_ref(), value);
        }
    }
}

impl<N: AsRef<str>, V: Into<String>> FromIterator<(N, V)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut attributes = Self::new();
        attributes.extend(pairs);
        attributes
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter_spelled())
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Attributes;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map of attribute names to lists of values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attributes, A::Error> {
                let mut attributes = Attributes::new();
                while let Some((name, values)) = map.next_entry::<String, Vec<String>>()? {
                    for value in values {
                        attributes.append(&name, value);
                    }
                }
                Ok(attributes)
            }
        }
        deserializer.deserialize_map(Names)
    }
}
