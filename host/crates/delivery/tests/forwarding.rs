//! Receivers that take from one broker and publish to another: confirmed there first, then acknowledged here.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
use wasmpost_delivery::{
    Broker, DeadLetterFilter, DeadLetters, Forward, QueueServer, QueueServerOptions, QueueSpec, QueueStats,
    RetryPolicy, TenantQuota,
};
use wasmpost_msg::{Attributes, Message, Publication, Reason, Receiver, ReceiverFunc, Server};

fn broker() -> Arc<MemoryBroker> {
    Arc::new(MemoryBroker::new(MemoryOptions::default()))
}

async fn stats(broker: &MemoryBroker, queue: &str) -> QueueStats {
    let all = broker.stats().await.unwrap();
    all.into_iter().find(|stats| stats.queue == queue).unwrap_or_default()
}

/// Publishes each message on to `out`, with what it brought.
fn onward() -> impl Receiver + 'static {
    ReceiverFunc(async |message: Message| {
        let body = message.body.as_bytes().unwrap().to_vec();
        message.context.outbox().push(Publication::new("@acme/out", message.attributes, body));
        Ok(())
    })
}

/// Serves the queue `in` of one broker, publishing to another, until it is empty or the time is over.
async fn serve(from: &Arc<MemoryBroker>, to: &Arc<MemoryBroker>, keeps_id: bool, patience: Duration) {
    let queue = from.queue(QueueSpec::new("in")).await.unwrap();
    let forward = Forward::to(Arc::clone(to) as Arc<dyn Broker>);
    let retry = RetryPolicy { attempts_max: 2, ..RetryPolicy::default() };
    let options = QueueServerOptions { forward: Some(forward), keeps_id, retry, ..QueueServerOptions::default() };
    let server = Arc::new(QueueServer::new(Arc::clone(&queue), options));
    let serving = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.serve(Arc::new(onward())).await }
    });
    let _ = tokio::time::timeout(patience, queue.drained()).await;
    server.shutdown(Duration::from_secs(1)).await.unwrap();
    serving.await.unwrap().unwrap();
}

async fn publish(broker: &MemoryBroker, id: &str, body: &str) {
    let publication = Publication { id: Some(id.into()), ..Publication::new("in", Attributes::new(), body.to_owned()) };
    broker.publish(vec![publication]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_receiver_publishes_goes_to_the_other_broker_with_an_id_made_from_its_source() {
    let from = broker();
    let to = broker();
    let out = to.queue(QueueSpec::new("@acme/out")).await.unwrap();
    publish(&from, "a", "hello").await;
    serve(&from, &to, false, Duration::from_secs(60)).await;
    let delivery = out.pull(1).await.unwrap().pop().unwrap();
    assert_eq!((&*delivery.body, delivery.hops), (&b"hello"[..], 1));
    assert_ne!(delivery.id, "a");
    assert_eq!(stats(&from, "in").await.acked, 1);
    assert!(from.stats().await.unwrap().iter().all(|stats| stats.queue != "@acme/out"), "nothing stays at the source");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_moved_keeps_its_id_so_that_moving_it_twice_adds_nothing() {
    let from = broker();
    let to = broker();
    to.queue(QueueSpec::new("@acme/out")).await.unwrap();
    to.publish(vec![Publication { id: Some("a".into()), ..Publication::new("@acme/out", Attributes::new(), "hello") }])
        .await
        .unwrap();
    publish(&from, "a", "hello").await;
    serve(&from, &to, true, Duration::from_secs(60)).await;
    assert_eq!((stats(&to, "@acme/out").await.ready, stats(&from, "in").await.acked), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_message_waits_at_the_source_uncounted_while_the_other_broker_has_no_room() {
    let from = broker();
    let to = broker();
    to.set_quotas(BTreeMap::from([("acme".to_owned(), TenantQuota::of_messages(1))])).await.unwrap();
    to.publish(vec![Publication::new("@acme/full", Attributes::new(), "x")]).await.unwrap();
    publish(&from, "a", "hello").await;
    // More time than two attempts take: a failure that counted would have made it a dead letter.
    serve(&from, &to, false, Duration::from_secs(60)).await;
    let source = stats(&from, "in").await;
    let other = stats(&to, "@acme/out").await;
    assert_eq!((source.ready + source.delayed, source.dead, other.ready), (1, 0, 0));
    to.set_quotas(BTreeMap::new()).await.unwrap();
    serve(&from, &to, false, Duration::from_secs(60)).await;
    assert_eq!((stats(&from, "in").await.acked, stats(&to, "@acme/out").await.ready), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_message_dies_of_what_the_other_broker_never_has_room_for() {
    let from = broker();
    let to = broker();
    to.set_quotas(BTreeMap::from([("acme".to_owned(), TenantQuota::of_messages(0))])).await.unwrap();
    publish(&from, "a", "hello").await;
    serve(&from, &to, false, Duration::from_secs(60)).await;
    let letters = from.show(&DeadLetterFilter::default(), 0, 10).await.unwrap();
    let reasons: Vec<_> = letters[0].attempts.iter().map(|attempt| attempt.reason).collect();
    assert_eq!(reasons, [Reason::PublishLimit; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_closed_gets_nothing_and_the_source_keeps_everything() {
    let from = broker();
    let to = broker();
    publish(&from, "a", "hello").await;
    to.close().await.unwrap();
    serve(&from, &to, false, Duration::from_secs(60)).await;
    let source = stats(&from, "in").await;
    assert_eq!((source.ready + source.delayed, source.dead, source.acked), (1, 0, 0));
}
