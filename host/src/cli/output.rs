//! What commands print: results to standard output, everything about them to standard error.
#![allow(clippy::print_stdout, clippy::print_stderr)] // This is the place for it.

use std::io::{self, Write};

use bytes::Bytes;
use serde::Serialize;
use wasmpost_delivery::Timestamp;

use super::Failure;

/// Prints a line of the result. A reader that went away, such as `head`, is no error.
pub(super) fn line(text: impl std::fmt::Display) {
    drop(writeln!(io::stdout().lock(), "{text}"));
}

/// Prints a note that is not part of the result.
pub(super) fn note(text: impl std::fmt::Display) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Prints bytes of the result as they are.
pub(super) fn raw(bytes: &[u8]) {
    drop(io::stdout().lock().write_all(bytes));
}

/// Prints a result as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(serde_json::to_string_pretty(value).map_err(Failure::failed)?);
    Ok(())
}

/// Prints why a command failed, cause by cause. Causes that the text before tells already are left out.
pub(super) fn error(error: &anyhow::Error) {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    note(format_args!("error: {text}"));
}

/// Prints rows in columns as wide as their widest cell.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(header.get(column).map(|name| name.len())).max().unwrap_or(0)
    };
    let show = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<_> = cells.enumerate().map(|(column, cell)| format!("{cell:<0$}", width(column))).collect();
        line(padded.join("  ").trim_end());
    };
    show(&mut header.iter().copied());
    for row in rows {
        show(&mut row.iter().map(String::as_str));
    }
}

/// A time as people write it, in UTC.
pub(super) fn time(timestamp: Timestamp) -> String {
    // The end of the year 9999, beyond which there is no text for it. A damaged file can name such times.
    const LAST: u64 = 253_402_300_799_999;
    if timestamp.0 > LAST {
        return format!("{} ms", timestamp.0);
    }
    humantime::format_rfc3339_millis(timestamp.into()).to_string()
}

/// A text from outside, with everything escaped that a terminal could obey.
pub(super) fn escaped(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            '\t' | ' ' => letter.to_string(),
            letter if letter.is_control() || is_invisible(letter) => letter.escape_default().to_string(),
            letter => letter.to_string(),
        })
        .collect()
}

/// Letters that change the direction or look of others.
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A body as JSON has it: as text where it is text, in base64 otherwise.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum JsonBody {
    Body(String),
    BodyBase64(String),
}

impl From<&Bytes> for JsonBody {
    fn from(body: &Bytes) -> Self {
        use base64::Engine;
        match std::str::from_utf8(body) {
            Ok(text) => Self::Body(text.to_owned()),
            Err(_) => Self::BodyBase64(base64::engine::general_purpose::STANDARD.encode(body)),
        }
    }
}
