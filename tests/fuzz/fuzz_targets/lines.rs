//! Lines are messages, or told as none; each is one of the two.
#![no_main]
#![allow(dead_code)] // The command does more with a message.

#[path = "../../../host/src/cli/ndjson.rs"]
mod ndjson;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (mut lines, mut told) = (ndjson::Lines::new(bytes), 0);
    while let Some(line) = lines.next().unwrap() {
        told += 1;
        match line {
            Ok(line) => assert!(line.body.len() <= bytes.len()),
            Err(text) => assert!(!text.is_empty()),
        }
    }
    assert_eq!(told, bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count());
    assert_eq!(lines.bytes(), bytes.len() as u64);
});
