//! Messages in a file, one JSON object on each line.

use std::io::{self, BufRead, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use wasmpost_msg::Attributes;
use wasmpost_sandbox::Span;

/// The longest line, in bytes: room for the largest body in base64.
const LINE_BYTES_MAX: u64 = 128 << 20;

/// One message.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    pub(super) attributes: Attributes,
    pub(super) body: Bytes,
    pub(super) id: Option<String>,
    pub(super) key: Option<String>,
    pub(super) delay: Option<Span>,
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

    /// The next line that is not empty: a message, or what is wrong with it; none at the end.
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
                self.bytes += self.reader.skip_until(b'\n')? as u64;
                return Ok(Some(Err(format!("is longer than {LINE_BYTES_MAX} bytes"))));
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some(parse(&line)));
            }
        }
    }
}

fn parse(line: &[u8]) -> Result<Line, String> {
    let raw: RawLine = serde_json::from_slice(line).map_err(|error| {
        // The line is the only one that the parser sees, so its number would always be 1.
        let text = error.to_string();
        let text = text.split(" at line ").next().unwrap_or_default().to_owned();
        format!("{text} at column {}", error.column())
    })?;
    let RawLine { attributes, body, body_base64, id, key, delay } = raw;
    let body = match (body, body_base64) {
        (Some(_), Some(_)) => return Err("has both \"body\" and \"body_base64\"".into()),
        (Some(text), None) => text.into(),
        (None, Some(text)) => {
            STANDARD.decode(text).map_err(|error| format!("\"body_base64\" is not base64: {error}"))?.into()
        }
        (None, None) => return Err("has neither \"body\" nor \"body_base64\"".into()),
    };
    Ok(Line { attributes, body, id, key, delay })
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
        let (first, second) = (read[0].1.as_ref().unwrap(), read[1].1.as_ref().unwrap());
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
        assert!(!faults[4].is_empty() && faults[5].is_empty());
    }
}
