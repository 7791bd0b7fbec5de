//! The broker in memory keeps what every broker promises, by a clock of the suite's own and by real time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use libtest_mimic::{Arguments, Trial};
use wasmpost_delivery::conformance::{Harness, Time, WINDOW_SECONDS, cases};
use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
use wasmpost_delivery::{Broker, Capabilities, Clock};

/// How long a second of the suite takes on real time.
const SECOND: Duration = Duration::from_millis(100);

#[derive(Clone, Copy)]
struct Memory(Time);

#[async_trait]
impl Harness for Memory {
    fn capabilities(&self) -> Capabilities {
        Capabilities::in_memory()
    }

    fn time(&self) -> Time {
        self.0
    }

    async fn broker(&self, clock: Clock) -> Arc<dyn Broker> {
        let mut options = MemoryOptions { clock, ..MemoryOptions::default() };
        if let Time::Real(second) = self.0 {
            options.deduplication_window = second * WINDOW_SECONDS.0;
        }
        Arc::new(MemoryBroker::new(options))
    }
}

fn trials(name: &str, harness: Memory) -> impl Iterator<Item = Trial> {
    cases().into_iter().filter(move |case| case.fits(&harness)).map(move |case| {
        Trial::test(format!("{name}::{}", case.name), move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(case.run(Arc::new(harness)));
            Ok(())
        })
    })
}

fn main() {
    let manual = trials("memory", Memory(Time::Manual));
    // The suite itself is put to the test: brokers elsewhere live by real time.
    let real = trials("memory_by_real_time", Memory(Time::Real(SECOND)));
    libtest_mimic::run(&Arguments::from_args(), manual.chain(real).collect()).exit();
}
