//! The embedded queue keeps what every broker promises.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

use std::sync::Arc;

use async_trait::async_trait;
use libtest_mimic::{Arguments, Trial};
use wasmpost_broker_sqlite::{SqliteBroker, SqliteOptions};
use wasmpost_delivery::conformance::{Harness, cases};
use wasmpost_delivery::{Broker, Clock};

struct Sqlite(tempfile::TempDir);

#[async_trait]
impl Harness for Sqlite {
    async fn broker(&self, clock: Clock) -> Arc<dyn Broker> {
        let options = SqliteOptions { clock: Some(clock), ..SqliteOptions::default() };
        SqliteBroker::open(&self.0.path().join("queue.db"), options).await.expect("a new file can be opened")
    }
}

fn main() {
    let trials = cases().into_iter().map(|case| {
        Trial::test(format!("sqlite::{}", case.name), move || {
            let harness = Sqlite(tempfile::tempdir()?);
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(case.run(&harness));
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}
