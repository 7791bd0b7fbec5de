//! A line of the log before it is written down: its fields, each name once, texts of bounded length.

use std::fmt::{self, Write};
use std::time::SystemTime;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Level, Metadata};

/// The longest message, in bytes: more than a guest may write to the log, unless it is configured to.
const MESSAGE_BYTES_MAX: usize = 512 << 10;
/// The longest text of another field, in bytes.
const FIELD_BYTES_MAX: usize = 8 << 10;
/// The mark for the rest of a text that was cut.
const CUT: &str = "\u{2026}";
/// The name of the field that has the message.
const MESSAGE: &str = "message";
/// Names that a line has of its own.
const TAKEN: &[&str] = &["timestamp", "level", MESSAGE, "target", "span", "spans"];

/// A line of the log.
pub(super) struct Line {
    pub(super) at: SystemTime,
    pub(super) level: Level,
    pub(super) target: String,
    pub(super) message: Option<String>,
    pub(super) fields: Fields,
    /// From the outermost to the innermost.
    pub(super) spans: Vec<(&'static str, Fields)>,
}

/// Fields in their order, each name once.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(pub(super) Vec<(String, Value)>);

/// Takes the fields of an event.
pub(super) struct EventVisitor<'a>(pub(super) &'a mut Line);

/// Takes the fields of a span.
pub(super) struct SpanVisitor<'a>(pub(super) &'a mut Fields);

impl Line {
    /// A line without fields.
    pub(super) fn new(level: Level, target: &str, message: Option<String>) -> Self {
        let fields = Fields::default();
        let spans = Vec::new();
        Self { at: SystemTime::now(), level, target: target.to_owned(), message, fields, spans }
    }

    /// The line of an event.
    pub(super) fn of(event: &tracing::Event<'_>) -> Self {
        let metadata: &Metadata<'_> = event.metadata();
        let mut line = Self::new(*metadata.level(), metadata.target(), None);
        event.record(&mut EventVisitor(&mut line));
        line
    }

    /// The same with another field.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.add(name, value.into(), TAKEN);
        self
    }
}

impl Fields {
    /// Adds a field. A name that is taken gets something behind it: nothing is left out, and nothing is there twice.
    fn add(&mut self, name: &str, value: Value, taken: &[&str]) {
        let mut name = name.strip_prefix("r#").unwrap_or(name).to_owned();
        while taken.contains(&&*name) || self.0.iter().any(|(known, _)| *known == name) {
            name.push('_');
        }
        self.0.push((name, value));
    }
}

/// A text of bounded length.
struct Bounded {
    text: String,
    max: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = self.max - self.text.len();
        if more.len() <= room {
            self.text.push_str(more);
            return Ok(());
        }
        self.text.push_str(more.get(..more.floor_char_boundary(room)).unwrap_or_default());
        self.text.push_str(CUT);
        self.max = self.text.len();
        // Nothing more is asked of what is being shown.
        Err(fmt::Error)
    }
}

/// A value as text, cut where it is longer than `max` bytes.
pub(super) fn bounded(value: fmt::Arguments<'_>, max: usize) -> String {
    let mut bounded = Bounded { text: String::new(), max };
    // It fails where it is cut, and where something cannot be shown: then as far as it can.
    bounded.write_fmt(value).unwrap_or(());
    bounded.text
}

impl EventVisitor<'_> {
    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        match (field.name(), &self.0.message) {
            (MESSAGE, None) => self.0.message = Some(bounded(value, MESSAGE_BYTES_MAX)),
            // Records of the crate `log` have their place in fields.
            ("log.target", _) => self.0.target = bounded(value, FIELD_BYTES_MAX),
            (name, _) if name.starts_with("log.") => {}
            (name, _) => self.0.fields.add(name, bounded(value, FIELD_BYTES_MAX).into(), TAKEN),
        }
    }
}

/// Numbers and words as JSON has them, everything else as text.
macro_rules! values {
    ($taken:expr) => {
        fn record_bool(&mut self, field: &Field, value: bool) {
            self.fields().add(field.name(), value.into(), $taken);
        }

        fn record_u64(&mut self, field: &Field, value: u64) {
            self.fields().add(field.name(), value.into(), $taken);
        }

        fn record_i64(&mut self, field: &Field, value: i64) {
            self.fields().add(field.name(), value.into(), $taken);
        }

        fn record_f64(&mut self, field: &Field, value: f64) {
            self.fields().add(field.name(), value.into(), $taken);
        }

        fn record_str(&mut self, field: &Field, value: &str) {
            self.add(field, format_args!("{value}"));
        }

        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            self.add(field, format_args!("{value:?}"));
        }
    };
}

impl EventVisitor<'_> {
    fn fields(&mut self) -> &mut Fields {
        &mut self.0.fields
    }
}

impl Visit for EventVisitor<'_> {
    values!(TAKEN);
}

impl SpanVisitor<'_> {
    fn fields(&mut self) -> &mut Fields {
        self.0
    }

    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.0.add(field.name(), bounded(value, FIELD_BYTES_MAX).into(), &["name"]);
    }
}

impl Visit for SpanVisitor<'_> {
    values!(&["name"]);
}
