//! Output of commands: results to standard output, everything about them to standard error.
#![allow(clippy::print_stdout, clippy::print_stderr)] // This is the place for it.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use bytes::Bytes;
use clap::builder::styling::{AnsiColor, Style};
use serde::Serialize;
use wasmpost_delivery::Timestamp;
use wasmpost_msg::{cut, is_obeyed, shown};

use super::{Failure, logging};

/// The first error of writing to standard output. Nothing is written after it.
static BROKEN: OnceLock<io::Error> = OnceLock::new();

/// The most bytes that are shown of a name.
const NAME_BYTES_MAX: usize = 200;
/// The most bytes that are shown of one cause of an error.
const CAUSE_BYTES_MAX: usize = 2048;

/// Prints a line of the result, with text from outside escaped.
pub(super) fn line(text: impl std::fmt::Display) {
    painted(shown(&text.to_string()));
}

/// Prints a line of the result as it is: with colours, and with everything escaped before that comes from outside.
pub(super) fn painted(text: impl std::fmt::Display) {
    write(|out| writeln!(out, "{text}"));
}

/// A text in a colour, for a result that a person sees who did not ask for none.
pub(super) fn coloured(color: AnsiColor, text: &str) -> String {
    let is_plain = !io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let style = if is_plain { Style::new() } else { color.on_default() };
    format!("{style}{text}{style:#}")
}

/// Prints a note that is not part of the result. It may carry text from outside.
pub(super) fn note(text: impl std::fmt::Display) {
    let text = told(&text.to_string());
    if !logging::note(&text) {
        // Standard error is the place to tell of faults: there is none to tell that it cannot be written.
        drop(writeln!(io::stderr().lock(), "{text}"));
    }
}

/// Prints bytes of the result as they are.
pub(super) fn raw(bytes: &[u8]) {
    write(|out| out.write_all(bytes));
}

/// Prints a result as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    painted(fit(&serde_json::to_string_pretty(value).map_err(Failure::failed)?));
    Ok(())
}

/// Prints a result as JSON on one line.
pub(super) fn json_line(value: &impl Serialize) -> Result<(), Failure> {
    painted(fit(&serde_json::to_string(value).map_err(Failure::failed)?));
    Ok(())
}

/// JSON that is fit to be looked at: what a terminal would obey is written as `\u009b`, which is the same to a parser. It
/// can only be within texts, but for the ends of lines.
fn fit(json: &str) -> String {
    let mut fit = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter == '\n' || !is_obeyed(letter) {
            fit.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            fit.push_str(&format!("\\u{unit:04x}"));
        }
    }
    fit
}

fn write(work: impl FnOnce(&mut io::StdoutLock<'_>) -> io::Result<()>) {
    if BROKEN.get().is_none()
        && let Err(error) = work(&mut io::stdout().lock())
    {
        // The first error is the one that tells why.
        drop(BROKEN.set(error));
    }
}

/// A failure where some of the output could not be written. A reader that went away, such as `head`, is none: it has what
/// it wanted.
pub(super) fn finish() -> Result<(), Failure> {
    write(|out| out.flush());
    match BROKEN.get() {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(anyhow::anyhow!("output could not be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints why a command failed, cause by cause: errors say nothing of their causes themselves.
pub(super) fn error(error: &anyhow::Error) {
    let causes: Vec<_> = error.chain().map(|cause| cut(&cause.to_string(), CAUSE_BYTES_MAX).into_owned()).collect();
    note(format_args!("error: {}", causes.join(": ")));
}

/// A text that may come from outside. It keeps its lines, but those behind the first are indented, so that none can pass
/// for another message.
fn told(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(shown).collect();
    lines.join("\n  ")
}

/// Prints rows in columns as wide as their widest cell. Cells are escaped.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) {
    let rows: Vec<Vec<_>> = rows.iter().map(|row| row.iter().map(|cell| shown(cell)).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(header.get(column).map(|name| name.len())).max().unwrap_or(0)
    };
    let show = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<_> = cells.enumerate().map(|(column, cell)| format!("{cell:<0$}", width(column))).collect();
        line(padded.join("  ").trim_end());
    };
    show(&mut header.iter().copied());
    for row in &rows {
        show(&mut row.iter().map(|cell| &**cell));
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

/// A name from outside, cut where it is too long to be of use.
pub(super) fn name(text: &str) -> Cow<'_, str> {
    cut(text, NAME_BYTES_MAX)
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
