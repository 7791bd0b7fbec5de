//! The embedded queue keeps what every broker promises.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

use std::sync::Arc;

use async_trait::async_trait;
use libtest_mimic::{Arguments, Trial};
use parking_lot::Mutex;
use wasmpost_broker_sqlite::{SqliteBroker, SqliteOptions};
use wasmpost_delivery::conformance::{Harness, cases};
use wasmpost_delivery::{Broker, Capabilities, Clock};

struct Sqlite {
    directory: tempfile::TempDir,
    open: Mutex<Option<Arc<SqliteBroker>>>,
}

impl Sqlite {
    fn new() -> std::io::Result<Self> {
        Ok(Self { directory: tempfile::tempdir()?, open: Mutex::default() })
    }
}

#[async_trait]
impl Harness for Sqlite {
    fn capabilities(&self) -> Capabilities {
        Capabilities::embedded()
    }

    async fn broker(&self, clock: Clock) -> Arc<dyn Broker> {
        let options = SqliteOptions { clock: Some(clock), ..SqliteOptions::default() };
        let file = self.directory.path().join("queue.db");
        let broker = SqliteBroker::open(&file, options).await.expect("a file of its own can be opened");
        *self.open.lock() = Some(Arc::clone(&broker));
        broker
    }

    fn restarts(&self) -> bool {
        true
    }

    async fn restart(&self, _: Arc<dyn Broker>, clock: Clock) -> Arc<dyn Broker> {
        let before = self.open.lock().take().unwrap();
        before.abandon().await;
        self.broker(clock).await
    }
}

fn main() {
    let harness = Sqlite::new().unwrap();
    let trials = cases().into_iter().filter(|case| case.fits(&harness)).map(|case| {
        Trial::test(format!("sqlite::{}", case.name), move || {
            let harness = Arc::new(Sqlite::new()?);
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(case.run(harness));
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}
