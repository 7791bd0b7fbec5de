//! The broker in memory keeps what every broker promises.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

use std::sync::Arc;

use async_trait::async_trait;
use libtest_mimic::{Arguments, Trial};
use wasmpost_delivery::conformance::{Harness, cases};
use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
use wasmpost_delivery::{Broker, Clock};

struct Memory;

#[async_trait]
impl Harness for Memory {
    async fn broker(&self, clock: Clock) -> Arc<dyn Broker> {
        Arc::new(MemoryBroker::new(MemoryOptions { clock, ..MemoryOptions::default() }))
    }
}

fn main() {
    let trials = cases().into_iter().map(|case| {
        Trial::test(format!("memory::{}", case.name), move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(case.run(&Memory));
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}
