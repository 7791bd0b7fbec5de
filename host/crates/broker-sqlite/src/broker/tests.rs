//! Reading ahead is bounded, and operations that were answered are stored.

use std::path::Path;

use wasmpost_delivery::Delivery;
use wasmpost_msg::Attributes;

use super::*;

const LARGE: usize = 256 << 10;
/// The most messages and bytes that are read ahead for a queue.
const AHEAD_MAX: usize = 1024;
const AHEAD_BYTES_MAX: usize = 4 << 20;

async fn open(directory: &Path) -> (Arc<SqliteBroker>, Arc<dyn Queue>) {
    let broker = SqliteBroker::open(&directory.join("queue.db"), SqliteOptions::default()).await.unwrap();
    let orders = broker.queue(QueueSpec::new("orders")).await.unwrap();
    (broker, orders)
}

async fn next(queue: &Arc<dyn Queue>) -> Delivery {
    queue.pull(1).await.unwrap().pop().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_behind_small_ones_with_their_keys_are_read_as_far_as_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let (broker, orders) = open(directory.path()).await;
    let keyed = |key: usize, bytes: usize| Publication {
        key: Some(key.to_string()),
        ..Publication::new("orders", Attributes::new(), vec![0; bytes])
    };
    broker.publish((0..200).map(|key| keyed(key, 1)).collect()).await.unwrap();
    for key in 0..150 {
        broker.publish(vec![keyed(key, LARGE)]).await.unwrap();
    }
    for _ in 0..150 {
        next(&orders).await.lease.ack(Vec::new()).await.unwrap();
        // The ack is stored, and messages that it made ready have been read, as far as reading goes.
        broker.stats().await.unwrap();
        broker.stats().await.unwrap();
    }
    let (waiting, places, _) = broker.channel.ahead().room(1);
    assert_eq!(waiting + places, AHEAD_MAX, "it is the queue");
    assert!(waiting > 50 && waiting <= 50 + AHEAD_BYTES_MAX / LARGE + 1, "{waiting} messages are read ahead");
    for _ in 0..200 {
        next(&orders).await.lease.ack(Vec::new()).await.unwrap();
    }
    orders.drained().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_behind_the_last_group_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (broker, orders) = open(directory.path()).await;
    broker.publish(vec![Publication::new("orders", Attributes::new(), "a")]).await.unwrap();
    let delivery = next(&orders).await;
    // As the last group does before the file is closed.
    assert!(broker.channel.acks().take_last().is_empty());
    let error = delivery.lease.ack(Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), BrokerErrorKind::Closed);
    broker.close().await.unwrap();
    let (_broker, orders) = open(directory.path()).await;
    assert_eq!(next(&orders).await.deliveries, 2);
}

/// Has the writer work until something is done.
#[cfg(feature = "prove")]
async fn during<T>(stepper: &mut crate::stepper::Stepper, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::task::yield_now() => drop(stepper.step()),
        }
    }
}

#[cfg(feature = "prove")]
#[tokio::test(start_paused = true)]
async fn an_ack_with_its_outbox_is_answered_before_the_disk_has_it_and_flushed_soon_after() {
    use crate::stepper::Step;

    let directory = tempfile::tempdir().unwrap();
    for (ack_flush, waits) in [(ACK_FLUSH, false), (Duration::ZERO, true)] {
        let options = SqliteOptions { ack_flush, ..SqliteOptions::default() };
        let path = directory.path().join(format!("{waits}.db"));
        let (broker, mut stepper) = SqliteBroker::open_stepped(&path, options).unwrap();
        let publication = |topic: &str| Publication::new(topic, Attributes::new(), "a");
        let orders = during(&mut stepper, broker.queue(QueueSpec::new("orders"))).await.unwrap();
        let bills = during(&mut stepper, broker.queue(QueueSpec::new("bills"))).await.unwrap();
        during(&mut stepper, broker.publish(vec![publication("orders")])).await.unwrap();
        assert!(stepper.is_synchronous(), "a publisher is answered when the disk has its message");
        let delivery = during(&mut stepper, next(&orders)).await;
        during(&mut stepper, delivery.lease.ack(vec![publication("bills")])).await.unwrap();
        assert_eq!(stepper.is_synchronous(), waits);
        let passed_on = during(&mut stepper, next(&bills)).await;
        assert_eq!(stepper.is_synchronous(), waits, "it is there before it is on the disk");
        assert_eq!(during(&mut stepper, broker.stats()).await.unwrap()[0].ready, 0);
        while !stepper.is_synchronous() {
            if let Step::Waits(patience) = stepper.step() {
                let patience = patience.unwrap_or(Duration::MAX);
                assert!(patience <= ACK_FLUSH, "{patience:?}");
                tokio::time::advance(patience).await;
            }
        }
        drop(passed_on);
    }
}
