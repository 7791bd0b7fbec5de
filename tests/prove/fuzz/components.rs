//! Components with changes: they are refused in words, or they run within their limits.

use std::sync::Arc;
use std::time::Duration;

use wasmpost_sandbox::{Compiler, EngineOptions, ReceiverOptions, Sandbox, Span, WasmReceiver, component_of};
use wasmpost_tests::{guest, program, target};
use wasmpost_tests_host::outcome::deliver;

use super::fuzz;
use super::mutation::changed;

/// Small ones, of different kinds: for wasmpost, for others, a command.
const SAMPLES: &[&str] = &["noop", "obeying", "foreign-spin", "foreign-wasmcloud", "foreign-cli"];

fn samples() -> Vec<Vec<u8>> {
    let modules = SAMPLES.iter().map(|name| std::fs::read(guest(name)).unwrap());
    // As they come out of their toolchain, and as components.
    modules.flat_map(|module| [component_of(&module).unwrap_or_else(|_| module.clone()), module]).collect()
}

/// Keeps the input in a file while it is tried, so that it is left there if it ends the process, as by a stack
/// overflow.
fn keep(bytes: &[u8]) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default().replace(':', "-");
    std::fs::create_dir_all(target().join("tmp")).unwrap();
    std::fs::write(target().join("tmp").join(name + ".wasm"), bytes).unwrap();
}

/// A sandbox as that of a host: what is compiled is compiled elsewhere.
fn hosted() -> Arc<Sandbox> {
    let compiler = Compiler::Child { program: program().to_owned(), arguments: vec!["compile-component".into()] };
    Sandbox::new(EngineOptions { pool_instances: 4, compiler, ..EngineOptions::default() }).unwrap()
}

#[test]
fn a_component_with_changes_is_refused_in_words_or_runs_within_its_limits() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sandbox = hosted();
    let mut options = ReceiverOptions::default();
    options.limits.cpu = Span(Duration::from_millis(200));
    options.limits.wall = Span(Duration::from_secs(2));
    let most = options.limits.memory.bytes();
    let words = ["\0asm", "\u{1}\0\0\0", "wasi:cli/run@0.2.0", "@0.3.0", "wasmpost:messaging/types@0.1.0"];
    fuzz("components", changed(samples(), &words, 4), |bytes| {
        keep(&bytes);
        let loaded = match sandbox.load(&bytes) {
            Ok(loaded) => loaded,
            Err(error) => return assert!(!error.to_string().is_empty()),
        };
        let Ok(receiver) = WasmReceiver::new(Arc::clone(&sandbox), loaded, options.clone()) else { return };
        let outcome = runtime.block_on(deliver(&receiver, 1, &[("Do", "copy")], "body"));
        assert!(outcome.usage.memory_peak_bytes <= most as u64, "within its memory");
    });
}
