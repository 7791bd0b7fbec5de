//! Lines as JSON, for programs. Escaped once: a parser gives each text as it was.

use std::io;

use serde::ser::{Serialize, SerializeMap};
use serde_json::ser::Formatter;
use serde_json::{Serializer, Value};

use super::line::{Fields, Line};

/// The line with its end.
pub(super) fn written(line: &Line) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    let mut serializer = Serializer::with_formatter(&mut bytes, Shown);
    // Writing to memory does not fail.
    drop(line.serialize(&mut serializer));
    bytes.push(b'\n');
    bytes
}

impl Serialize for Line {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("timestamp", &format_args!("{}", humantime::format_rfc3339_micros(self.at)))?;
        map.serialize_entry("level", self.level.as_str())?;
        if let Some(message) = &self.message {
            map.serialize_entry("message", message)?;
        }
        for (name, value) in &self.fields.0 {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("target", &self.target)?;
        let spans: Vec<_> = self.spans.iter().map(|(name, fields)| Span { fields, name }).collect();
        if let Some(span) = spans.last() {
            map.serialize_entry("span", span)?;
            map.serialize_entry("spans", &spans)?;
        }
        map.end()
    }
}

struct Span<'a> {
    fields: &'a Fields,
    name: &'static str,
}

impl Serialize for Span<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.fields.0.iter().map(|(name, value)| (&**name, value.clone()));
        serializer.collect_map(fields.chain([("name", Value::from(self.name))]))
    }
}

/// JSON on one line, fit to be looked at: what a terminal would obey is written as `\u009b`, which is the same to a parser.
struct Shown;

impl Formatter for Shown {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(wasmpost_msg::is_obeyed) {
            let (before, after) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut letters = after.chars();
            for unit in letters.next().iter().flat_map(|letter| letter.encode_utf16(&mut [0; 2]).to_vec()) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = letters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}
