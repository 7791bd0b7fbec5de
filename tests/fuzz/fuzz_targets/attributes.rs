//! Attributes that are taken are written as they were read.
#![no_main]

libfuzzer_sys::fuzz_target!(|json: &str| wasmpost_fuzz::attributes(json));
