//! Attributes that are taken are written as they were read.
#![no_main]
#![allow(dead_code)] // Each target is one of several.

#[path = "../../prove/fuzz/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|json: &str| targets::attributes(json));
