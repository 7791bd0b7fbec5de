//! Ordering keys.

use std::time::Duration;

use wasmpost_msg::{Publication, Reason};

use super::Fixture;
use super::fixture::{attempt, bodies, evidence, publication};
use crate::Nack;

fn keyed(key: &str, body: &str) -> Publication {
    Publication { key: Some(key.into()), ..publication("orders", body) }
}

pub(super) async fn messages_with_one_key_are_delivered_one_at_a_time_in_publish_order(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    let all = [("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3"), ("b", "b2")];
    fixture.publish_all(all.iter().map(|(key, body)| keyed(key, body)).collect()).await;
    for expected in [vec!["a1", "b1"], vec!["a2", "b2"], vec!["a3"], vec![]] {
        let held = fixture.deliverable(&queue).await;
        assert_eq!(bodies(&held), expected);
        for delivery in held {
            delivery.lease.ack(Vec::new()).await.unwrap();
        }
    }
}

pub(super) async fn a_failing_message_blocks_its_own_key_alone(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    let all = [("a", "a1"), ("a", "a2"), ("b", "b1"), ("b", "b2")];
    fixture.publish_all(all.iter().map(|(key, body)| keyed(key, body)).collect()).await;
    let head = fixture.next(&queue).await;
    let record = attempt(&head, "no");
    head.lease.nack(Nack { delay: Duration::from_secs(60), attempt: Some(record) }).await.unwrap();
    assert_eq!(fixture.peek(&queue).await, ["b1"]);
    fixture.advance_seconds(60);
    let mut deliverable = fixture.peek(&queue).await;
    deliverable.sort();
    assert_eq!(deliverable, ["a1", "b1"]);
}

pub(super) async fn a_dead_message_frees_its_key(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    fixture.publish_all(vec![keyed("a", "a1"), keyed("a", "a2")]).await;
    let head = fixture.next(&queue).await;
    let why = evidence(&head, Reason::Rejected, "malformed");
    head.lease.reject(why).await.unwrap();
    assert_eq!(fixture.peek(&queue).await, ["a2"]);
}
