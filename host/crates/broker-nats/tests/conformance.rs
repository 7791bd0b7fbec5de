//! The broker on NATS keeps what every broker promises.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::print_stderr)] // A fault fails the test.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use libtest_mimic::{Arguments, Trial};
use tokio::sync::Mutex;
use wasmpost_broker_nats::NatsBroker;
use wasmpost_delivery::conformance::{Harness, Time, cases};
use wasmpost_delivery::{Access, Broker, Capabilities, Clock};
use wasmpost_tests::servers::NatsServer;

/// How long a second of the suite is. Ids are remembered for twenty of them.
const SECOND: Duration = Duration::from_millis(250);

#[derive(Default)]
struct Nats {
    server: Mutex<Option<NatsServer>>,
}

impl Nats {
    async fn connect(&self) -> Arc<dyn Broker> {
        let url = format!("{}/suite?dedup_window=5s", self.server.lock().await.as_ref().unwrap().url());
        NatsBroker::open(&url, &Access::default()).await.expect("server can be connected to")
    }
}

#[async_trait]
impl Harness for Nats {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durable: true,
            ordering_keys: true,
            delays: true,
            deduplication: true,
            purge_forgets_ids: false,
            transactional_outbox: false,
            ttl: true,
            quotas: false,
            key_isolation: false,
            lapsing_leases: true,
            exact_stats: false,
            shared: true,
        }
    }

    fn time(&self) -> Time {
        Time::Real(SECOND)
    }

    async fn broker(&self, _: Clock) -> Arc<dyn Broker> {
        let server = NatsServer::start().await.unwrap();
        *self.server.lock().await = Some(server);
        self.connect().await
    }

    async fn another(&self, _: Clock) -> Arc<dyn Broker> {
        self.connect().await
    }

    fn restarts(&self) -> bool {
        true
    }

    async fn restart(&self, broker: Arc<dyn Broker>, _: Clock) -> Arc<dyn Broker> {
        self.server.lock().await.as_mut().unwrap().restart().await.unwrap();
        // The broker connects again by itself.
        broker
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let missing = runtime.block_on(NatsServer::start()).err().filter(|error| error.contains("missing"));
    if let Some(missing) = &missing {
        eprintln!("ignored: {missing}");
    }
    let harness = Nats::default();
    let trials = cases().into_iter().filter(|case| case.fits(&harness)).map(|case| {
        let trial = Trial::test(format!("nats::{}", case.name), move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(case.run(Arc::new(Nats::default())));
            Ok(())
        });
        trial.with_ignored_flag(missing.is_some())
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}
