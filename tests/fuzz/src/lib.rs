//! The targets of `tests/prove/fuzz/main.rs`, for libFuzzer.

mod targets;

/// Attributes that are taken are written as they were read.
pub fn attributes(json: &str) {
    targets::attributes(json);
}

/// A configuration is taken or refused in words, with its place.
pub fn configuration(text: &str) {
    targets::configuration(text);
}

/// An origin has one spelling, and is another one when URLs say so.
pub fn origins(text: &str, other: &str) {
    targets::origins(text, other);
}
