//! Pulling, leases and settling.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use wasmpost_msg::{Attributes, Publication};

use super::Fixture;
use super::fixture::{attempt, bodies, in_time, publication};
use crate::error::BrokerErrorKind;
use crate::lease::Nack;

pub(super) async fn a_leased_message_is_not_delivered_to_another(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    fixture.publish("orders", "a").await;
    fixture.publish("orders", "b").await;
    let held = fixture.next(&queue).await;
    assert_eq!(bodies(std::slice::from_ref(&held)), ["a"]);
    fixture.finds(&queue, &["b"]).await;
    fixture.counts("orders", |stats| stats.leased, 1).await;
}

pub(super) async fn an_acked_message_is_gone(fixture: Fixture) {
    let queue = fixture.queue_with_leases("orders", 5).await;
    fixture.publish("orders", "a").await;
    fixture.next(&queue).await.lease.ack(Vec::new()).await.unwrap();
    fixture.pass(if fixture.is_manual() { 3600 } else { 6 }).await;
    fixture.finds(&queue, &[]).await;
    fixture.counts("orders", |stats| stats.ready + stats.delayed + stats.leased + stats.dead, 0).await;
}

pub(super) async fn a_nacked_message_returns_after_its_delay_and_counts_a_failure(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    fixture.publish("orders", "a").await;
    let first = fixture.next(&queue).await;
    let id = first.id.clone();
    let record = attempt(&first, "no");
    let delay = fixture.seconds(10);
    let since = Instant::now();
    first.lease.nack(Nack { delay, attempt: Some(record) }).await.unwrap();
    let second = fixture.next_after(&queue, since, delay).await;
    assert_eq!((second.id.as_str(), second.deliveries, second.failures), (id.as_str(), 2, 1));
    assert_eq!(second.body, "a");
}

pub(super) async fn a_redelivery_has_its_whole_body_and_all_attributes(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    let attributes: Attributes = [("Tag", "one"), ("Tag", "two"), ("X-Empty", "")].into_iter().collect();
    let body: Vec<u8> = (0..=255).rev().cycle().take(300_000).collect();
    let sent = Publication { key: Some("k".into()), ..Publication::new("orders", attributes, body) };
    fixture.publish_all(vec![sent.clone()]).await;
    for round in 1..=3 {
        let delivery = fixture.next(&queue).await;
        assert_eq!((&delivery.attributes, &delivery.key), (&sent.attributes, &sent.key), "round {round}");
        assert!(delivery.body == sent.body, "body of round {round} is byte-identical");
        let record = attempt(&delivery, "no");
        delivery.lease.nack(Nack { delay: Duration::ZERO, attempt: Some(record) }).await.unwrap();
    }
}

pub(super) async fn an_uncounted_nack_counts_a_delivery_and_no_failure(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    fixture.publish("orders", "a").await;
    fixture.next(&queue).await.lease.nack(Nack::give_back()).await.unwrap();
    let again = fixture.next(&queue).await;
    assert_eq!((again.deliveries, again.failures), (2, 0));
}

pub(super) async fn a_dropped_lease_is_given_back_uncounted(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    fixture.publish("orders", "a").await;
    drop(fixture.next(&queue).await);
    let again = fixture.next(&queue).await;
    assert_eq!((again.deliveries, again.failures), (2, 0));
}

pub(super) async fn a_lapsed_lease_counts_a_failure_and_cannot_be_settled(fixture: Fixture) {
    let queue = fixture.queue_with_leases("orders", 8).await;
    fixture.publish("orders", "a").await;
    let lapsed = fixture.next(&queue).await;
    let renewer = lapsed.lease.renewer();
    fixture.pass_lease(&queue).await;
    let again = fixture.next(&queue).await;
    assert_eq!((again.deliveries, again.failures), (2, 1));
    assert_eq!(renewer.renew().await.unwrap_err().kind(), BrokerErrorKind::Stale);
    assert_eq!(lapsed.lease.ack(Vec::new()).await.unwrap_err().kind(), BrokerErrorKind::Stale);
    fixture.counts("orders", |stats| stats.leased, 1).await;
    again.lease.ack(Vec::new()).await.expect("the newer lease stands");
}

pub(super) async fn a_renewed_lease_does_not_lapse(fixture: Fixture) {
    let queue = fixture.queue_with_leases("orders", 10).await;
    fixture.publish("orders", "a").await;
    let held = fixture.next(&queue).await;
    let renewer = held.lease.renewer();
    for _ in 0..5 {
        let nearly = queue.lease() - Duration::from_millis(1);
        fixture.pass_time(if fixture.is_manual() { nearly } else { queue.lease() / 2 }).await;
        renewer.renew().await.unwrap();
    }
    fixture.finds(&queue, &[]).await;
    held.lease.ack(Vec::new()).await.unwrap();
}

pub(super) async fn a_pull_waits_until_a_message_comes(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    let pulling = tokio::spawn({
        let fixture = fixture.clone();
        let queue = queue.clone();
        async move { fixture.next(&queue).await.body }
    });
    fixture.publish("orders", "a").await;
    assert_eq!(pulling.await.unwrap(), "a");
}

pub(super) async fn a_dropped_pull_loses_nothing(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    for round in 0..20 {
        let pulling = tokio::spawn({
            let queue = queue.clone();
            async move { queue.pull(1).await.map(|deliveries| deliveries.len()) }
        });
        tokio::task::yield_now().await;
        pulling.abort();
        fixture.publish("orders", &format!("message {round}")).await;
        drop(pulling.await);
        let delivery = fixture.next(&queue).await;
        assert_eq!((bodies(std::slice::from_ref(&delivery)), delivery.failures), (vec![format!("message {round}")], 0));
        delivery.lease.ack(Vec::new()).await.unwrap();
    }
}

pub(super) async fn a_pull_takes_no_more_than_asked(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    fixture.publish_all((0..10).map(|number| publication("orders", &number.to_string())).collect()).await;
    let held = in_time(queue.pull(4)).await.unwrap();
    assert!((1..=4).contains(&held.len()), "{}", held.len());
    fixture.counts("orders", |stats| stats.leased, held.len() as u64).await;
}

pub(super) async fn what_is_pulled_without_waiting_is_leased_like_all_else(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    assert!(queue.pull_now(2).is_empty());
    for body in ["a", "b", "c"] {
        fixture.publish("orders", body).await;
    }
    // Some brokers would have to wait, and give none.
    let mut held = queue.pull_now(2);
    assert!(held.len() <= 2);
    while held.len() < 3 {
        held.push(fixture.next(&queue).await);
    }
    let mut bodies: Vec<_> = held.iter().map(|delivery| delivery.body.clone()).collect();
    bodies.sort();
    assert_eq!(bodies, ["a", "b", "c"]);
    assert!(queue.pull_now(2).is_empty());
    for delivery in held {
        delivery.lease.ack(Vec::new()).await.unwrap();
    }
    in_time(queue.drained()).await.unwrap();
}

pub(super) async fn many_pulls_at_once_get_each_message_once(fixture: Fixture) {
    const MESSAGES: usize = 200;
    let queue = fixture.queue("orders").await;
    let pullers: Vec<_> = (0..8)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move {
                let mut ids = Vec::new();
                loop {
                    for delivery in in_time(queue.pull(7)).await.unwrap() {
                        let last = delivery.body == "stop";
                        ids.push(delivery.id.clone());
                        delivery.lease.ack(Vec::new()).await.unwrap();
                        if last {
                            return ids;
                        }
                    }
                }
            })
        })
        .collect();
    let messages = (0..MESSAGES).map(|number| publication("orders", &number.to_string()));
    fixture.publish_all(messages.collect()).await;
    in_time(queue.drained()).await.unwrap();
    let mut ids = Vec::new();
    for number in 0..8 {
        let mut stop = publication("orders", "stop");
        stop.id = Some(format!("stop {number}"));
        fixture.publish_all(vec![stop]).await;
    }
    for puller in pullers {
        ids.extend(puller.await.unwrap());
    }
    let distinct: BTreeSet<_> = ids.iter().collect();
    assert_eq!((ids.len(), distinct.len()), (MESSAGES + 8, MESSAGES + 8));
}

pub(super) async fn a_drained_queue_has_nothing_ready_delayed_or_leased(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    in_time(queue.drained()).await.unwrap();
    fixture.publish("orders", "a").await;
    let held = fixture.next(&queue).await;
    let draining = tokio::spawn({
        let queue = queue.clone();
        async move { queue.drained().await }
    });
    tokio::task::yield_now().await;
    assert!(!draining.is_finished(), "a leased message is not drained");
    held.lease.nack(Nack { delay: fixture.seconds(1), attempt: None }).await.unwrap();
    tokio::task::yield_now().await;
    assert!(!draining.is_finished(), "a delayed message is not drained");
    fixture.pass(1).await;
    fixture.next(&queue).await.lease.ack(Vec::new()).await.unwrap();
    in_time(draining).await.unwrap().unwrap();
}

pub(super) async fn a_closed_broker_ends_waiting_pulls_and_refuses_calls(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    let pulling = tokio::spawn({
        let queue = queue.clone();
        async move { queue.pull(1).await.map(|deliveries| deliveries.len()) }
    });
    tokio::task::yield_now().await;
    fixture.broker.close().await.unwrap();
    assert_eq!(in_time(pulling).await.unwrap().unwrap_err().kind(), BrokerErrorKind::Closed);
    let error = fixture.broker.publish(vec![publication("orders", "a")]).await.unwrap_err();
    assert_eq!(error.kind(), BrokerErrorKind::Closed);
}
