//! The memory of idle components and instances, measured in a process that did nothing else.

use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use wasmpost_msg::{Context, Message, Receiver};
use wasmpost_sandbox::{EngineOptions, ReceiverOptions, Sandbox, WasmReceiver};

use crate::report::Report;
use crate::tenants::distinct;
use crate::work::{attributes, component};

/// How many are made of each.
const MANY: usize = 400;
/// The argument of a process that measures.
pub(crate) const ARGUMENT: &str = "measure-memory";

/// The figures with what they are of, in the order in which the process prints them.
const FIGURES: &[(&str, &str, &str)] = &[
    ("memory-component", "a component of its own, loaded from the cache", "KiB"),
    ("memory-same", "the same component once more", "KiB"),
    ("memory-instance", "an instance that waits for the next message", "KiB"),
    ("load-cached", "loading a component from the cache", "µs"),
    ("load-handled", "from the cache to the first message handled", "µs"),
];

pub(crate) fn run(report: &mut Report) {
    // The first process compiles what the second finds in the cache.
    let numbers = [(); 2].map(|()| {
        let ran = Command::new(std::env::current_exe().unwrap()).arg(ARGUMENT).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    });
    for ((id, what, unit), number) in FIGURES.iter().zip(numbers[1].split_whitespace()) {
        report.figure(id, what, number.parse().unwrap(), unit);
    }
}

/// The work of that process.
pub(crate) fn measure() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cache_dir = Some(wasmpost_tests::target().join("bench-cache"));
    let options = EngineOptions { cache_dir, pool_instances: 2 * MANY as u32, ..EngineOptions::default() };
    let sandbox = Sandbox::new(options).unwrap();
    let wasm = component("checksum");
    let files: Vec<_> = (0..MANY as u64 + 1).map(|number| distinct(&wasm, number)).collect();
    let receive = |receiver: &WasmReceiver| {
        let message = Message {
            attributes: attributes(),
            body: vec![b'x'; crate::BODY_BYTES].into(),
            context: Context::default(),
        };
        runtime.block_on(receiver.receive(message)).unwrap();
    };
    let make = |wasm: &[u8], reuse| {
        let options = ReceiverOptions { reuse, ..ReceiverOptions::default() };
        WasmReceiver::new(Arc::clone(&sandbox), sandbox.load(wasm).unwrap(), options).unwrap()
    };
    // Memory that is allocated once for all is not counted.
    receive(&make(&files[MANY], 1));

    let before = anonymous();
    let began = Instant::now();
    let loaded: Vec<_> = files[..MANY].iter().map(|wasm| make(wasm, 1)).collect();
    let loading = began.elapsed();
    let distinct = anonymous() - before;
    let before = anonymous();
    let same: Vec<_> = (0..MANY).map(|_| make(&files[0], u32::MAX)).collect();
    let again = anonymous() - before;
    let before = anonymous();
    same.iter().for_each(receive);
    let idle = anonymous() - before;
    drop((loaded, same));

    let began = Instant::now();
    files[..MANY].iter().for_each(|wasm| receive(&make(wasm, 1)));
    let handled = began.elapsed();
    let each = |bytes: f64| bytes / 1024.0 / MANY as f64;
    let micros = |time: std::time::Duration| time.as_secs_f64() * 1e6 / MANY as f64;
    println!("{} {} {} {} {}", each(distinct), each(again), each(idle), micros(loading), micros(handled));
}

/// Bytes of the process that no file backs.
fn anonymous() -> f64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find(|line| line.starts_with("Anonymous:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
}
