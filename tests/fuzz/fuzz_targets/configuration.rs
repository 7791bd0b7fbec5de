//! Configurations are taken or refused in words.
#![no_main]
#![allow(dead_code)] // Each target is one of several.

#[path = "../../prove/fuzz/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|text: &str| targets::configuration(text));
