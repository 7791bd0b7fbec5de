//! Whether a durable queue stays as fast when much waits in it.

use std::sync::Arc;

use bytes::Bytes;
use wasmpost_broker_sqlite::{SqliteBroker, SqliteOptions};
use wasmpost_delivery::{Broker, QueueSpec};
use wasmpost_msg::Attributes;

use crate::hosted::fill;
use crate::measure::{By, Row, timed_async};
use crate::report::Report;

/// Messages of each measurement.
const MESSAGES: usize = 2000;
const BODY_BYTES: usize = 100;

/// Measures at each of these depths, from the lowest, in one file that grows.
pub(crate) fn run(report: &mut Report, depths: &[usize], rounds: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (directory, body, attributes) =
        (tempfile::tempdir().unwrap(), Bytes::from(vec![b'x'; BODY_BYTES]), Attributes::new());
    let mut published = Vec::new();
    let mut handled = Vec::new();
    runtime.block_on(async {
        let broker = SqliteBroker::open(&directory.path().join("queue.db"), SqliteOptions::default()).await.unwrap();
        let queue = broker.queue(QueueSpec::new("bench")).await.unwrap();
        let mut waiting = 0;
        for depth in depths {
            fill(&*broker, &body, &attributes, depth - waiting).await;
            waiting = *depth;
            let row = |what: &str, id: &str| Row::new(format!("{id}-{depth}"), format!("{what}, {depth} waiting"));
            let mut publish = row("publish", "backlog-publish");
            let mut handle = row("lease and ack", "backlog-ack");
            for round in 0..=rounds {
                let publishing = timed_async(fill(&*broker, &body, &attributes, MESSAGES)).await;
                let handling = timed_async(async {
                    let mut left = MESSAGES;
                    while left > 0 {
                        for delivery in queue.pull(left.min(100)).await.unwrap() {
                            delivery.lease.ack(Vec::new()).await.unwrap();
                            left -= 1;
                        }
                    }
                })
                .await;
                if round > 0 {
                    publish.add(publishing, MESSAGES);
                    handle.add(handling, MESSAGES);
                }
            }
            published.push(publish);
            handled.push(handle);
        }
        let broker: Arc<dyn Broker> = broker;
        broker.close().await.unwrap();
    });
    report.group("durable queue, publish in groups of 512 while many wait", By::Cpu, published);
    report.group("durable queue, lease and ack 100 at a time while many wait", By::Cpu, handled);
}
