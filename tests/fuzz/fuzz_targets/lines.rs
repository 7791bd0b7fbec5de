//! Lines are messages, or told as none; each is one of the two, and no message is larger than its line.
#![no_main]

mod ndjson;

use ndjson::{Line, Lines};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut lines = Lines::new(bytes);
    let mut told = 0;
    let mark: &[u8] = b"\xef\xbb\xbf";
    if [&b"\xff\xfe"[..], b"\xfe\xff"].iter().any(|utf_16| bytes.starts_with(utf_16)) {
        return assert!(lines.next().is_err());
    }
    while let Some(line) = lines.next().unwrap() {
        told += 1;
        match line {
            Ok(Line { attributes, body, id, key, delay, ttl }) => {
                let texts = [id, key].iter().flatten().map(String::len).sum::<usize>();
                let held =
                    attributes.bytes() + body.len() + texts + usize::from(delay.is_some()) + usize::from(ttl.is_some());
                assert!(held <= bytes.len(), "line {}", lines.number());
            }
            Err(text) => assert!(!text.is_empty()),
        }
    }
    let text = bytes.strip_prefix(mark).unwrap_or(bytes);
    assert_eq!(told, text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count());
    assert_eq!(lines.bytes(), bytes.len() as u64);
});
