//! Origins of HTTP have one spelling. The first line of the text is one, the rest another.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (text, other) = text.split_once('\n').unwrap_or((text, text));
    wasmpost_fuzz::origins(text, other);
});
