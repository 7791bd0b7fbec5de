//! Configurations are taken or refused in words.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| wasmpost_fuzz::configuration(text));
