//! Messages in a file, one JSON object on each line.

use std::io::{self, BufRead, BufReader, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use wasmpost_msg::{Attributes, cut};
use wasmpost_sandbox::Span;

/// The longest line, in bytes: room for the largest body in base64.
const LINE_BYTES_MAX: u64 = 128 << 20;
/// The most bytes of what the parser tells of a line. There may be a name from it in there.
const FAULT_BYTES_MAX: usize = 200;
/// The mark that some editors put at the beginning of text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The marks at the beginning of text in UTF-16, in either byte order.
const UTF_16: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// One message.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    pub(super) attributes: Attributes,
    pub(super) body: Bytes,
    pub(super) id: Option<String>,
    pub(super) key: Option<String>,
    pub(super) delay: Option<Span>,
    pub(super) ttl: Option<Span>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLine {
    #[serde(default)]
    attributes: Attributes,
    body: Option<String>,
    body_base64: Option<String>,
    id: Option<String>,
    key: Option<String>,
    delay: Option<Span>,
    ttl: Option<Span>,
}

/// Reads messages line by line.
pub(super) struct Lines<R> {
    reader: R,
    number: u64,
    bytes: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, number: 0, bytes: 0 }
    }

    /// The number of the line read last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The bytes read so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next line that is not empty: a message, or what is wrong with it; none at the end. An error where nothing
    /// behind it can be read: the end of a line that is too long may never come.
    pub(super) fn next(&mut self) -> io::Result<Option<Result<Line, String>>> {
        loop {
            let mut line = Vec::new();
            let read = self.reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.bytes += read as u64;
            if read as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
                let number = self.number;
                return Err(unreadable(format!("line {number} is longer than {LINE_BYTES_MAX} bytes; shorten it")));
            }
            let mut text = &line[..];
            if self.number == 1 {
                if UTF_16.iter().any(|mark| text.starts_with(mark)) {
                    return Err(unreadable("it is text in UTF-16; convert it to UTF-8".into()));
                }
                text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
            }
            if !text.trim_ascii().is_empty() {
                return Ok(Some(parse(text.trim_ascii_end())));
            }
        }
    }
}

impl<R: Read> Lines<BufReader<R>> {
    /// Whether another line is at hand, so that reading it does not wait.
    pub(super) fn is_at_hand(&self) -> bool {
        self.reader.buffer().contains(&b'\n')
    }
}

fn unreadable(fault: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, fault)
}

fn parse(line: &[u8]) -> Result<Line, String> {
    if line.trim_ascii_start().first() != Some(&b'{') {
        return Err("is not a JSON object such as {\"body\":\"text\"}".into());
    }
    let raw: RawLine = serde_json::from_slice(line).map_err(|error| {
        // The line is the only one that the parser sees, so its number would always be 1.
        let text = error.to_string();
        let text = text.rsplit_once(" at line ").map_or(&*text, |(text, _)| text);
        let text = cut(text, FAULT_BYTES_MAX);
        match error.column() {
            0 => text.into_owned(),
            column => format!("{text} at column {column}"),
        }
    })?;
    let RawLine { attributes, body, body_base64, id, key, delay, ttl } = raw;
    let body = match (body, body_base64) {
        (Some(_), Some(_)) => return Err("has both \"body\" and \"body_base64\"".into()),
        (Some(text), None) => text.into(),
        (None, Some(text)) => {
            STANDARD.decode(text).map_err(|error| format!("\"body_base64\" is not base64: {error}"))?.into()
        }
        (None, None) => return Err("has neither \"body\" nor \"body_base64\"".into()),
    };
    Ok(Line { attributes, body, id, key, delay, ttl })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<(u64, Result<Line, String>)> {
        let mut lines = Lines::new(text.as_bytes());
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push((lines.number(), line));
        }
        all
    }

    #[test]
    fn a_line_is_a_message_with_text_or_bytes() {
        let read =
            all("{\"attributes\":{\"k\":[\"v\"]},\"body\":\"text\"}\n\n{\"body_base64\":\"AP8=\",\"delay\":\"2s\"}");
        let first = read[0].1.as_ref().unwrap();
        let second = read[1].1.as_ref().unwrap();
        assert_eq!((first.attributes.get("K"), &first.body[..]), (Some("v"), &b"text"[..]));
        assert_eq!((read[1].0, &second.body[..]), (3, &[0, 255][..]));
        assert_eq!(second.delay.unwrap().to_string(), "2s");
    }

    #[test]
    fn a_wrong_line_tells_its_fault_and_the_next_is_read() {
        let read =
            all("{\"body\":}\n{\"bdy\":\"x\"}\n{}\n{\"body\":\"x\",\"body_base64\":\"\"}\n[1]\n{\"body\":\"ok\"}");
        let faults: Vec<_> = read.iter().map(|(_, line)| line.as_ref().err().cloned().unwrap_or_default()).collect();
        assert!(faults[0].contains("at column"), "{}", faults[0]);
        assert!(faults[1].contains("bdy"), "{}", faults[1]);
        assert!(faults[2].contains("neither") && faults[3].contains("both"));
        assert!(faults[4].contains("not a JSON object") && faults[5].is_empty());
    }

    #[test]
    fn an_array_is_no_message_however_its_fields_would_fit() {
        let read = all(r#"[{},"by position",null,"id1",null,null,null]"#);
        assert!(read[0].1.as_ref().unwrap_err().contains("not a JSON object"));
    }

    #[test]
    fn a_fault_at_the_end_of_a_line_tells_the_column_of_the_end() {
        assert!(all("{\"body\":\"x\"\n")[0].1.as_ref().unwrap_err().ends_with("at column 11"));
    }

    #[test]
    fn a_name_in_a_fault_is_cut() {
        let line = format!("{{\"{}\":1}}", "n".repeat(3_000_000));
        let told = all(&line).remove(0).1.unwrap_err();
        assert!(told.len() < 300 && told.contains("n\u{2026} at column 30000"), "{:.300}", told);
    }

    #[test]
    fn one_byte_order_mark_at_the_very_beginning_is_skipped() {
        let read = all("\u{feff}{\"body\":\"x\"}\n\u{feff}{\"body\":\"y\"}");
        assert_eq!(&read[0].1.as_ref().unwrap().body[..], b"x");
        assert!(read[1].1.is_err());
    }

    #[test]
    fn text_in_utf_16_is_told_as_such() {
        for text in [b"\xff\xfe{\0", b"\xfe\xff\0{"] {
            let error = Lines::new(&text[..]).next().unwrap_err().to_string();
            assert!(error.contains("UTF-16"), "{error}");
        }
    }

    #[test]
    fn a_line_that_never_ends_is_refused_once_it_is_too_long() {
        let error = Lines::new(BufReader::new(io::repeat(b'x'))).next().unwrap_err().to_string();
        assert!(error.contains("line 1 is longer than"), "{error}");
    }

    #[test]
    fn only_a_whole_line_is_at_hand() {
        let mut lines = Lines::new(BufReader::new(&b"{\"body\":\"x\"}\n{\"body\":\"y\"}\n{"[..]));
        let mut at_hand = Vec::new();
        for _ in 0..2 {
            lines.next().unwrap();
            at_hand.push(lines.is_at_hand());
        }
        assert_eq!(at_hand, [true, false]);
    }
}
