//! A file is looked through before it is compiled: it is refused in words, or within the limits.
#![no_main]
#![allow(dead_code)] // The sandbox reads more of what was found.

#[path = "../../../host/crates/sandbox/src/load/scan.rs"]
mod scan;

use wasmpost_sandbox::{LoadError, Size, Span};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // Small ones, which an input can come to.
    let limits = scan::LoadLimits { functions: 40, types: 40, nesting: 3, ..scan::LoadLimits::default() };
    match limits.scan(bytes) {
        Ok(scanned) => assert!(scanned.version.is_none_or(|version| version.len() <= bytes.len())),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
