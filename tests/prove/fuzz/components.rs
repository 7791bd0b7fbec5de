//! Components with changes: they are refused in words, or they run within their limits.

use std::time::Duration;

use wasmpost_sandbox::{LoadLimits, ReceiverOptions, WasmReceiver, component_of};
use wasmpost_tests::guest;

use super::fuzz;
use super::mutation::changed;
use super::outcome::{deliver, sandbox};

/// Small ones, of different kinds: for wasmpost, for others, a command.
const SAMPLES: &[&str] = &["noop", "obeying", "foreign-spin", "foreign-wasmcloud", "foreign-cli"];

fn samples() -> Vec<Vec<u8>> {
    let modules = SAMPLES.iter().map(|name| std::fs::read(guest(name)).unwrap());
    // As they come out of their toolchain, and as components.
    modules.flat_map(|module| [component_of(&module).unwrap_or_else(|_| module.clone()), module]).collect()
}

#[test]
fn a_component_with_changes_is_refused_in_words_or_runs_within_its_limits() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    fuzz("components", changed(samples(), &["\0asm", "\u{1}\0\0\0", "wasi:cli/run@0.2.0", "\u{ff}\u{ff}"], 4), |bytes| {
        let loaded = match sandbox().load(&bytes) {
            Ok(loaded) => loaded,
            Err(error) => return assert!(!error.to_string().is_empty()),
        };
        let mut options = ReceiverOptions::default();
        options.limits.cpu = wasmpost_sandbox::Span(Duration::from_millis(200));
        options.limits.wall = wasmpost_sandbox::Span(Duration::from_secs(2));
        let Ok(receiver) = WasmReceiver::new(sandbox(), loaded, options) else { return };
        let outcome = runtime.block_on(deliver(&receiver, 1, &[("Do", "copy")], "body"));
        assert!(outcome.usage.memory_peak_bytes <= 64 << 20, "within its memory");
    });
}

#[test]
fn a_scan_of_anything_ends() {
    // Without compiling: many more can be tried.
    fuzz("scans", changed(samples(), &["\0asm\r\0\u{1}\0", "\0asm\u{1}\0\0\0"], 8), |bytes| {
        let (_, limits) = (component_of(&bytes).map(|component| assert!(component.starts_with(b"\0asm"))), LoadLimits::default());
        assert!(limits.file.bytes() > bytes.len());
    });
}
