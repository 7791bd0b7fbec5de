//! Origins of HTTP have one spelling. The first line of the text is one, the rest another.
#![no_main]
#![allow(dead_code)] // Each target is one of several.

#[path = "../../prove/fuzz/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (text, other) = text.split_once('\n').unwrap_or((text, text));
    targets::origins(text, other);
});
