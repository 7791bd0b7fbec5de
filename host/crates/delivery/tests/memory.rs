//! The cost of the broker in memory while it waits.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A fault fails the test.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
use wasmpost_delivery::{Broker, QueueSpec};
use wasmpost_msg::{Attributes, Publication};

#[tokio::test]
async fn pulling_rests_while_a_message_in_flight_has_expired() {
    let broker = MemoryBroker::new(MemoryOptions::default());
    let queue = broker.queue(QueueSpec::new("orders")).await.unwrap();
    let ttl = Some(Duration::from_millis(5));
    broker.publish(vec![Publication { ttl, ..Publication::new("orders", Attributes::new(), "a") }]).await.unwrap();
    let held = queue.pull(1).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let mut pull = pin!(queue.pull(1));
    let mut polls = 0;
    let counted = poll_fn(|context| {
        polls += 1;
        pull.as_mut().poll(context)
    });
    let pulled = tokio::time::timeout(Duration::from_millis(50), counted).await;
    assert!(pulled.is_err(), "the only message is in flight");
    assert!(polls < 10, "{polls} looks at a queue in which nothing happens");
    drop(held);
    let stats = broker.stats().await.unwrap();
    assert_eq!((stats[0].ready, stats[0].expired), (0, 1), "it expires when it is put back");
}

#[tokio::test]
async fn what_is_due_can_be_pulled_without_waiting() {
    let broker = MemoryBroker::new(MemoryOptions::default());
    let queue = broker.queue(QueueSpec::new("orders")).await.unwrap();
    let message = |delay| Publication { delay, ..Publication::new("orders", Attributes::new(), "a") };
    let later = Duration::from_secs(3600);
    let publications = [Duration::ZERO, later, Duration::ZERO, Duration::ZERO].map(message);
    broker.publish(publications.into()).await.unwrap();
    let first = queue.pull_now(2);
    let second = queue.pull_now(2);
    assert_eq!((first.len(), second.len()), (2, 1), "one is not due");
}
