//! The host: broker, server, and a receiver that does nothing, wired as `wasmpost run` does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmpost::registry::Address;
use wasmpost_delivery::{Broker, QueueServer, QueueServerOptions, QueueSpec, Share, Threads};
use wasmpost_msg::{Attributes, Publication, Server as _};
use wasmpost_sandbox::{EngineOptions, ReceiverOptions, Sandbox, WasmReceiver};
use wasmpost_tests::guest;

use crate::{BODY_BYTES, IN_FLIGHT, MESSAGES};

/// How many messages are published at once beforehand.
const BATCH: usize = 250;

pub(crate) struct Hosted {
    broker: Arc<dyn Broker>,
    receiver: Arc<WasmReceiver>,
    threads: Threads,
}

impl Hosted {
    pub(crate) async fn new(url: &str) -> Self {
        let broker = Address::parse(url).unwrap().open().await.unwrap();
        let sandbox = Sandbox::new(EngineOptions::default()).unwrap();
        let loaded = sandbox.load_file(&guest("noop")).unwrap();
        let receiver = WasmReceiver::new(Arc::clone(&sandbox), loaded, ReceiverOptions::default()).unwrap();
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let preempt = Box::new(move || sandbox.interrupt());
        let threads = Threads::start(count, &tokio::runtime::Handle::current(), preempt).unwrap();
        Self { broker, receiver: Arc::new(receiver), threads }
    }

    /// From a full queue to an empty one. Publishing is not measured.
    pub(crate) async fn drain(&self, name: &str) -> Duration {
        let queue = self.broker.queue(QueueSpec::new(name)).await.unwrap();
        let publications: Vec<_> =
            (0..MESSAGES).map(|_| Publication::new(name, Attributes::new(), vec![b'x'; BODY_BYTES])).collect();
        for batch in publications.chunks(BATCH) {
            self.broker.publish(batch.to_vec()).await.unwrap();
        }
        let share = Arc::new(Share::new(usize::MAX, Some(self.threads.lane(1))));
        let options = QueueServerOptions {
            concurrency: IN_FLIGHT,
            share: Some(Arc::clone(&share)),
            ..QueueServerOptions::default()
        };
        let server = Arc::new(QueueServer::new(queue, options));
        let began = Instant::now();
        let serving = tokio::spawn({
            let server = Arc::clone(&server);
            let receiver = Arc::clone(&self.receiver);
            async move { server.serve(receiver).await }
        });
        while share.used().acked < MESSAGES as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Waits for the last acks.
        server.shutdown(Duration::from_secs(5)).await.unwrap();
        let took = began.elapsed();
        serving.await.unwrap().unwrap();
        took
    }

    pub(crate) async fn close(self) {
        self.broker.close().await.unwrap();
    }
}
