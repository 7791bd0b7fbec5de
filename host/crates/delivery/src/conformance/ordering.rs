//! Ordering keys.

use std::time::Instant;

use wasmpost_msg::{Publication, Reason};

use super::Fixture;
use super::fixture::{attempt, evidence, publication};
use crate::lease::Nack;

fn keyed(key: &str, body: &str) -> Publication {
    Publication { key: Some(key.into()), ..publication("orders", body) }
}

pub(super) async fn messages_with_one_key_are_delivered_one_at_a_time_in_publish_order(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    let all = [("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3"), ("b", "b2")];
    fixture.publish_all(all.iter().map(|(key, body)| keyed(key, body)).collect()).await;
    for expected in [vec!["a1", "b1"], vec!["a2", "b2"], vec!["a3"], vec![]] {
        for delivery in fixture.takes(&queue, &expected).await {
            delivery.lease.ack(Vec::new()).await.unwrap();
        }
    }
}

pub(super) async fn a_failing_message_blocks_those_behind_it_with_its_key(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    fixture.publish_all(vec![keyed("a", "a1"), keyed("a", "a2")]).await;
    let head = fixture.next(&queue).await;
    let record = attempt(&head, "no");
    let delay = fixture.seconds(5);
    let since = Instant::now();
    head.lease.nack(Nack { delay, attempt: Some(record) }).await.unwrap();
    let again = fixture.next_after(&queue, since, delay).await;
    assert_eq!((again.id.as_str(), again.failures), ("a1", 1));
    again.lease.ack(Vec::new()).await.unwrap();
    fixture.finds(&queue, &["a2"]).await;
}

pub(super) async fn a_failing_message_blocks_its_own_key_alone(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    let all = [("a", "a1"), ("a", "a2"), ("b", "b1"), ("b", "b2")];
    fixture.publish_all(all.iter().map(|(key, body)| keyed(key, body)).collect()).await;
    let head = fixture.next(&queue).await;
    let record = attempt(&head, "no");
    head.lease.nack(Nack { delay: fixture.seconds(60), attempt: Some(record) }).await.unwrap();
    fixture.finds(&queue, &["b1"]).await;
    fixture.pass(60).await;
    let deliverable = fixture.deliverable_in_any_order(&queue, 2).await;
    assert_eq!(deliverable, ["a1", "b1"]);
}

pub(super) async fn a_dead_message_frees_its_key(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    fixture.publish_all(vec![keyed("a", "a1"), keyed("a", "a2")]).await;
    let head = fixture.next(&queue).await;
    let why = evidence(&head, Reason::Rejected, "malformed");
    head.lease.reject(why).await.unwrap();
    fixture.finds(&queue, &["a2"]).await;
}
