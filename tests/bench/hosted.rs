//! The host as it is wired in the program, from a full queue to an empty one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Runtime;
use wasmpost_broker_sqlite::{SqliteBroker, SqliteOptions};
use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
use wasmpost_delivery::{BatchOptions, Broker, QueueServer, QueueServerOptions, QueueSpec, Share, Threads};
use wasmpost_msg::{Attributes, Publication, Receiver, Server};
use wasmpost_sandbox::Sandbox;

use crate::measure::{Sample, process_cpu};

/// The most bytes in the queue of one drain.
const QUEUED_BYTES_MAX: usize = 256 << 20;
/// How many publications are handed over at a time.
const BATCH_BYTES: usize = 8 << 20;

/// Where messages wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queued {
    /// In memory.
    Memory,
    /// In a file, with fsync.
    Sqlite,
}

/// Threads that guests run on, with the runtime beside them.
pub(crate) struct Hosted {
    runtime: Runtime,
    threads: Threads,
}

impl Hosted {
    /// A host whose guests have so many threads.
    pub(crate) fn new(threads: usize, sandbox: Option<&Arc<Sandbox>>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let sandbox = sandbox.cloned();
        let preempt = move || sandbox.iter().for_each(|sandbox| sandbox.interrupt());
        let threads = Threads::start(threads, runtime.handle(), Box::new(preempt)).unwrap();
        Self { runtime, threads }
    }

    /// How many messages with such a body one drain can have.
    pub(crate) fn messages_max(body_bytes: usize) -> usize {
        (QUEUED_BYTES_MAX / body_bytes.max(1)).clamp(1, 1 << 17)
    }

    /// Fills a queue, and measures from when it is served until it is empty.
    pub(crate) fn drain(
        &self,
        queued: Queued,
        receiver: &Arc<dyn Receiver>,
        batch: Option<BatchOptions>,
        body: &Bytes,
        attributes: &Attributes,
        messages: usize,
    ) -> Sample {
        let share = Arc::new(Share::new(usize::MAX, Some(self.threads.lane(1))));
        let single = QueueServerOptions::default();
        let concurrency = batch.map_or(single.concurrency, |batch| 2 * batch.messages);
        let options = QueueServerOptions { share: Some(share), concurrency, batch, ..single };
        self.runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let broker: Arc<dyn Broker> = match queued {
                Queued::Memory => Arc::new(MemoryBroker::new(MemoryOptions::default())),
                Queued::Sqlite => {
                    SqliteBroker::open(&directory.path().join("queue.db"), SqliteOptions::default()).await.unwrap()
                }
            };
            let queue = broker.queue(QueueSpec::new("bench")).await.unwrap();
            fill(&*broker, body, attributes, messages).await;
            let server = Arc::new(QueueServer::new(Arc::clone(&queue), options));
            let began = Instant::now();
            let cpu = process_cpu();
            let serving = tokio::spawn({
                let server = Arc::clone(&server);
                let receiver = Arc::clone(receiver);
                async move { server.serve(receiver).await }
            });
            queue.drained().await.unwrap();
            let sample = Sample { wall: began.elapsed(), cpu: process_cpu() - cpu };
            server.shutdown(Duration::from_secs(5)).await.unwrap();
            serving.await.unwrap().unwrap();
            broker.close().await.unwrap();
            sample
        })
    }
}

/// Publishes so many messages that are all the same.
pub(crate) async fn fill(broker: &dyn Broker, body: &Bytes, attributes: &Attributes, messages: usize) {
    let batch = (BATCH_BYTES / body.len().max(1)).clamp(1, 512);
    let mut left = messages;
    while left > 0 {
        let some = left.min(batch);
        let publication = || Publication::new("bench", attributes.clone(), body.clone());
        broker.publish((0..some).map(|_| publication()).collect()).await.unwrap();
        left -= some;
    }
}
