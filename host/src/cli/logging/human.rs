//! Lines for people, with control characters of terminals replaced.

use serde_json::Value;
use tracing::Level;
use wasmpost_msg::shown;

use super::line::{Fields, Line};

const DIM: &str = "\u{1b}[2m";
const BOLD: &str = "\u{1b}[1m";
const ITALIC: &str = "\u{1b}[3m";
const PLAIN: &str = "\u{1b}[0m";

/// Whether a line is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    /// For a terminal.
    On,
    /// For a file.
    Off,
}

/// The line with its end.
pub(super) fn written(line: &Line, colours: Colours) -> Vec<u8> {
    let mut text = String::with_capacity(256);
    let styled = |style: &str, what: &str| match colours {
        Colours::On => format!("{style}{what}{PLAIN}"),
        Colours::Off => what.to_owned(),
    };
    text.push_str(&styled(DIM, &humantime::format_rfc3339_micros(line.at).to_string()));
    text.push(' ');
    text.push_str(&styled(colour(line.level), &format!("{:>5}", line.level.as_str())));
    for (number, (name, fields)) in line.spans.iter().enumerate() {
        text.push_str(if number == 0 { " " } else { ":" });
        text.push_str(&styled(BOLD, name));
        if !fields.0.is_empty() {
            let mut within = String::new();
            write_fields(&mut within, fields, &styled);
            text.push_str(&format!("{{{}}}", within.trim_start()));
        }
    }
    if !line.spans.is_empty() {
        text.push(':');
    }
    if let Some(message) = &line.message {
        text.push(' ');
        text.push_str(&shown(message));
    }
    write_fields(&mut text, &line.fields, &styled);
    text.push('\n');
    text.into_bytes()
}

fn write_fields(text: &mut String, fields: &Fields, styled: &impl Fn(&str, &str) -> String) {
    for (name, value) in &fields.0 {
        let value = match value {
            Value::String(value) => quoted(value),
            other => other.to_string(),
        };
        text.push_str(&format!(" {}={value}", styled(ITALIC, name)));
    }
}

/// A text between quotes where one could not see its end otherwise.
fn quoted(value: &str) -> String {
    let value = shown(value);
    if value.is_empty() || value.contains([' ', '=', '"']) { format!("\"{value}\"") } else { value.into_owned() }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        Level::DEBUG => "\u{1b}[34m",
        Level::TRACE => "\u{1b}[35m",
    }
}
