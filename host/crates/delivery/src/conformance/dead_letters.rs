//! Dead letters and what is counted.

use std::time::Duration;

use wasmpost_msg::{Attributes, Publication, Reason};

use super::Fixture;
use super::fixture::{attempt, evidence, publication};
use crate::dead_letter::{AttemptVerdict, DeadLetterFilter, HISTORY_MAX, PAGE_BYTES_MAX};
use crate::lease::Nack;

async fn kill(fixture: &Fixture, queue: &str, body: &str, reason: Reason) {
    // Each dies at a time of its own, so that their order is known.
    fixture.pass(1).await;
    let pulled = fixture.queue(queue).await;
    fixture.publish(queue, body).await;
    let delivery = fixture.next(&pulled).await;
    let why = evidence(&delivery, reason, "broken");
    delivery.lease.reject(why).await.unwrap();
}

pub(super) async fn a_rejected_message_becomes_a_dead_letter_with_its_evidence(fixture: Fixture) {
    let queue = fixture.queue_with_topics("billing", &["orders"]).await;
    let mut attributes = Attributes::new();
    attributes.append("Tag", "one");
    attributes.append("Tag", "two");
    let sent =
        Publication { key: Some("k".into()), hops: 2, ..Publication::new("orders", attributes, vec![0, 159, 255]) };
    fixture.publish_all(vec![Publication { id: Some("the-id".into()), ..sent.clone() }]).await;
    let delivery = fixture.next(&queue).await;
    let why = evidence(&delivery, Reason::Trap, "wasm trap: unreachable");
    fixture.pass(5).await;
    let published_at = delivery.published_at;
    delivery.lease.reject(why.clone()).await.unwrap();
    let letters = fixture.dead().show(&DeadLetterFilter::default(), 0, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!((letter.id.as_str(), letter.queue.as_str(), letter.topic.as_str()), ("the-id", "billing", "orders"));
    assert_eq!((&letter.attributes, &letter.body), (&sent.attributes, &sent.body));
    assert_eq!((letter.key.as_deref(), letter.hops, letter.deliveries), (Some("k"), 2, 1));
    assert_eq!(letter.published_at, published_at);
    let age = letter.dead_at.since(published_at);
    assert!(if fixture.is_manual() { age == fixture.seconds(5) } else { age >= fixture.seconds(4) }, "died at {age:?}");
    assert_eq!(letter.evidence, why);
    fixture.finds(&queue, &[]).await;
}

pub(super) async fn a_dead_letter_tells_every_attempt(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    fixture.publish("orders", "a").await;
    for round in 1..=2 {
        let delivery = fixture.next(&queue).await;
        let record = attempt(&delivery, &format!("failure {round}"));
        delivery.lease.nack(Nack { delay: Duration::ZERO, attempt: Some(record) }).await.unwrap();
    }
    let delivery = fixture.next(&queue).await;
    let why = evidence(&delivery, Reason::Attempts, "failure 3");
    delivery.lease.reject(why).await.unwrap();
    let letters = fixture.dead().show(&DeadLetterFilter::default(), 0, 10).await.unwrap();
    let told: Vec<_> =
        letters[0].attempts.iter().map(|attempt| (attempt.number, attempt.verdict, attempt.error.as_str())).collect();
    assert_eq!(
        told,
        [
            (1, AttemptVerdict::Nack, "failure 1"),
            (2, AttemptVerdict::Nack, "failure 2"),
            (3, AttemptVerdict::Reject, "failure 3")
        ]
    );
    assert_eq!(letters[0].deliveries, 3);
}

pub(super) async fn a_dead_letter_keeps_the_last_attempts(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    fixture.publish("orders", "a").await;
    for round in 0..HISTORY_MAX {
        let delivery = fixture.next(&queue).await;
        let record = attempt(&delivery, &format!("failure {round}"));
        delivery.lease.nack(Nack { delay: Duration::ZERO, attempt: Some(record) }).await.unwrap();
    }
    let delivery = fixture.next(&queue).await;
    let why = evidence(&delivery, Reason::Attempts, "the last");
    delivery.lease.reject(why).await.unwrap();
    let letters = fixture.dead().show(&DeadLetterFilter::default(), 0, 10).await.unwrap();
    let told: Vec<_> = letters[0].attempts.iter().map(|attempt| attempt.number as usize).collect();
    assert_eq!(told, (2..=HISTORY_MAX + 1).collect::<Vec<_>>(), "the one that was its end included");
}

pub(super) async fn filters_tell_dead_letters_apart(fixture: Fixture) {
    kill(&fixture, "orders", "a", Reason::Rejected).await;
    kill(&fixture, "orders", "b", Reason::Trap).await;
    kill(&fixture, "invoices", "c", Reason::Trap).await;
    let list = async |filter: DeadLetterFilter, skip, max| {
        let letters = fixture.dead().show(&filter, skip, max).await.unwrap();
        letters.into_iter().map(|letter| letter.id).collect::<Vec<_>>()
    };
    let all = DeadLetterFilter::default();
    let orders = DeadLetterFilter { queue: Some("orders".into()), ..all.clone() };
    assert_eq!(list(all.clone(), 0, 10).await, ["a", "b", "c"]);
    assert_eq!(list(all.clone(), 1, 1).await, ["b"]);
    assert_eq!(list(orders.clone(), 0, 10).await, ["a", "b"]);
    assert_eq!(list(DeadLetterFilter { reason: Some(Reason::Trap), ..orders }, 0, 10).await, ["b"]);
    let ids = vec!["c".to_owned(), "a".to_owned(), "nothing".to_owned()];
    assert_eq!(list(DeadLetterFilter { ids, ..all }, 0, 10).await, ["a", "c"]);
}

pub(super) async fn a_list_leaves_bodies_out_and_tells_how_large_they_are(fixture: Fixture) {
    kill(&fixture, "orders", "four", Reason::Rejected).await;
    kill(&fixture, "orders", "five!", Reason::Trap).await;
    let list = async |skip, max| {
        let listed = fixture.dead().list(&DeadLetterFilter::default(), skip, max).await.unwrap();
        listed
            .into_iter()
            .map(|listed| (listed.letter.id, listed.letter.body.len(), listed.body_bytes))
            .collect::<Vec<_>>()
    };
    assert_eq!(list(0, 10).await, [("four".to_owned(), 0, 4), ("five!".to_owned(), 0, 5)]);
    assert_eq!(list(1, 10).await, [("five!".to_owned(), 0, 5)]);
    assert_eq!(list(2, 10).await, []);
}

pub(super) async fn a_page_of_dead_letters_ends_by_its_bytes(fixture: Fixture) {
    // Six of them are more than a page has.
    let body = vec![b'a'; PAGE_BYTES_MAX / 6];
    let queue = fixture.queue("orders").await;
    for number in 0..7 {
        fixture.pass(1).await;
        let id = Some(number.to_string());
        fixture
            .publish_all(vec![Publication { id, ..Publication::new("orders", Attributes::new(), body.clone()) }])
            .await;
        let delivery = fixture.next(&queue).await;
        let why = evidence(&delivery, Reason::Rejected, "broken");
        delivery.lease.reject(why).await.unwrap();
    }
    let show = async |skip, max| {
        let letters = fixture.dead().show(&DeadLetterFilter::default(), skip, max).await.unwrap();
        letters.into_iter().map(|letter| letter.id).collect::<Vec<_>>()
    };
    assert_eq!(show(0, 10).await, ["0", "1", "2", "3", "4"]);
    assert_eq!(show(5, 10).await, ["5", "6"]);
    assert!(show(7, 10).await.is_empty());
    assert_eq!(fixture.dead().list(&DeadLetterFilter::default(), 0, 10).await.unwrap().len(), 7);
}

pub(super) async fn a_redriven_message_is_delivered_again_with_no_failures(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    fixture.publish("orders", "a").await;
    let delivery = fixture.next(&queue).await;
    let record = attempt(&delivery, "no");
    delivery.lease.nack(Nack { delay: Duration::ZERO, attempt: Some(record) }).await.unwrap();
    let delivery = fixture.next(&queue).await;
    let why = evidence(&delivery, Reason::Attempts, "no");
    delivery.lease.reject(why).await.unwrap();
    let other = DeadLetterFilter { queue: Some("invoices".into()), ..DeadLetterFilter::default() };
    assert_eq!(fixture.dead().redrive(&other).await.unwrap(), 0);
    assert_eq!(fixture.dead().redrive(&DeadLetterFilter::default()).await.unwrap(), 1);
    fixture.counts("orders", |stats| stats.dead, 0).await;
    let again = fixture.next(&queue).await;
    assert_eq!((again.id.as_str(), again.deliveries, again.failures), ("a", 3, 0));
    assert_eq!(again.body, "a");
}

pub(super) async fn a_purged_dead_letter_is_gone(fixture: Fixture) {
    kill(&fixture, "orders", "a", Reason::Rejected).await;
    kill(&fixture, "orders", "b", Reason::Trap).await;
    let trapped = DeadLetterFilter { reason: Some(Reason::Trap), ..DeadLetterFilter::default() };
    assert_eq!(fixture.dead().purge(&trapped).await.unwrap(), 1);
    let left = fixture.dead().show(&DeadLetterFilter::default(), 0, 10).await.unwrap();
    assert_eq!(left.iter().map(|letter| letter.id.as_str()).collect::<Vec<_>>(), ["a"]);
}

pub(super) async fn stats_count_what_lies_where(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    kill(&fixture, "orders", "dead", Reason::Rejected).await;
    let published_at = fixture.clock.now();
    fixture.publish("orders", "held").await;
    fixture.pass(1).await;
    fixture.publish("orders", "waiting").await;
    let late = Publication { delay: fixture.seconds(9), ..publication("orders", "late") };
    fixture.publish_all(vec![late]).await;
    fixture.publish("orders", "done").await;
    let held = fixture.next(&queue).await;
    let waiting = fixture.next(&queue).await;
    fixture.next(&queue).await.lease.ack(Vec::new()).await.unwrap();
    waiting.lease.nack(Nack::give_back()).await.unwrap();
    let stats = fixture.stats("orders").await;
    assert_eq!((stats.ready, stats.delayed, stats.leased, stats.dead, stats.acked), (1, 1, 1, 1, 1));
    assert_eq!(stats.oldest, Some(published_at));
    drop(held);
}
