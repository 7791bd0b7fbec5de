//! Publishing, topics and queues.

use std::time::{Duration, Instant};

use wasmpost_msg::{Attributes, Publication, Reason};

use super::Fixture;
use super::fixture::{bodies, evidence, in_time, publication};
use crate::broker::QueueSpec;
use crate::dead_letter::DeadLetterFilter;
use crate::error::BrokerErrorKind;

pub(super) async fn a_message_is_delivered_as_it_was_published(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    let mut attributes = Attributes::new();
    attributes.set("content-type", "application/octet-stream");
    attributes.append("tag", "one");
    attributes.append("tag", "zwei, drei");
    let body: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let sent = Publication {
        id: Some("the-id".into()),
        hops: 3,
        key: Some("customer 7".into()),
        ..Publication::new("orders", attributes.clone(), body.clone())
    };
    fixture.publish_all(vec![sent]).await;
    let delivery = fixture.next(&queue).await;
    assert_eq!((delivery.id.as_str(), delivery.topic.as_str()), ("the-id", "orders"));
    assert_eq!((delivery.deliveries, delivery.failures, delivery.hops), (1, 0, 3));
    assert_eq!(delivery.key.as_deref(), Some("customer 7"));
    assert_eq!(delivery.attributes, attributes);
    assert_eq!(delivery.attributes.values("Tag"), ["one", "zwei, drei"]);
    assert!(delivery.body == body, "body is byte-identical");
    let age = fixture.clock.now().since(delivery.published_at);
    assert!(if fixture.is_manual() { age.is_zero() } else { age < Duration::from_secs(60) }, "published {age:?} ago");
}

pub(super) async fn an_empty_body_is_a_message(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    let receipts = fixture.broker.publish(vec![Publication::new("orders", Attributes::new(), "")]).await.unwrap();
    let delivery = fixture.next(&queue).await;
    assert!(delivery.body.is_empty());
    assert_eq!(delivery.id, receipts[0].id);
    assert!(!delivery.id.is_empty(), "broker gives an id");
}

pub(super) async fn attributes_keep_their_values_and_their_spelling(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    let pairs = [
        ("x-ODD-case", "one"),
        ("x-ODD-case", "two"),
        ("greeting", "Grüße, 世界 🌍"),
        ("Empty", ""),
        ("spaces", "  before and behind \t"),
        ("a.b_c~1", "100%25=\"q\""),
        // Names that mean something to brokers.
        ("Nats-Rollup", "all"),
        ("nats-msg-id", "mine"),
        ("Nats-Expected-Last-Sequence", "7"),
        ("x-death", "0"),
        ("Status", "503"),
        ("Description", "none"),
    ];
    let attributes: Attributes = pairs.into_iter().collect();
    let spelled = |attributes: &Attributes| {
        let all = attributes.iter_spelled().map(|(name, values)| (name.to_owned(), values.to_vec()));
        all.collect::<Vec<_>>()
    };
    fixture.publish_all(vec![Publication::new("orders", attributes.clone(), "x")]).await;
    let delivery = fixture.next(&queue).await;
    assert_eq!(spelled(&delivery.attributes), spelled(&attributes));
    assert_eq!(delivery.attributes.values("X-Odd-Case"), ["one", "two"]);
}

pub(super) async fn messages_without_a_key_are_delivered_in_publish_order(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    let sent: Vec<String> = (0..50).map(|number| format!("message {number}")).collect();
    fixture.publish_all(sent.iter().map(|body| publication("orders", body)).collect()).await;
    let mut got = Vec::new();
    while got.len() < sent.len() {
        got.extend(in_time(queue.pull(7)).await.unwrap());
    }
    assert_eq!(bodies(&got), sent);
}

pub(super) async fn a_second_publication_of_an_id_within_the_window_adds_nothing(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    let first = fixture.broker.publish(vec![publication("orders", "a")]).await.unwrap();
    let second = fixture.broker.publish(vec![publication("orders", "a"), publication("orders", "b")]).await.unwrap();
    assert_eq!((first[0].duplicate, second[0].duplicate, second[1].duplicate), (false, true, false));
    assert_eq!(second[0].id, "a");
    let elsewhere = fixture.broker.publish(vec![publication("invoices", "a")]).await.unwrap();
    assert!(!elsewhere[0].duplicate, "an id belongs to its topic");
    fixture.finds(&queue, &["a", "b"]).await;
}

pub(super) async fn an_id_is_forgotten_after_the_window(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    fixture.publish("orders", "a").await;
    fixture.next(&queue).await.lease.ack(Vec::new()).await.unwrap();
    let soon = fixture.broker.publish(vec![publication("orders", "a")]).await.unwrap();
    assert!(soon[0].duplicate, "an id is remembered after its message has ended");
    fixture.pass_window().await;
    let later = fixture.broker.publish(vec![publication("orders", "a")]).await.unwrap();
    assert!(!later[0].duplicate);
    fixture.finds(&queue, &["a"]).await;
}

pub(super) async fn a_purged_message_can_be_published_again(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    fixture.publish("orders", "a").await;
    let delivery = fixture.next(&queue).await;
    let why = evidence(&delivery, Reason::Rejected, "no");
    delivery.lease.reject(why).await.unwrap();
    let dead = fixture.broker.publish(vec![publication("orders", "a")]).await.unwrap();
    let purged = fixture.dead().purge(&DeadLetterFilter::default()).await.unwrap();
    if fixture.broker.capabilities().deduplication {
        assert!((dead[0].duplicate, purged) == (true, 1), "a dead letter is still there");
    }
    let again = fixture.broker.publish(vec![publication("orders", "a")]).await.unwrap();
    assert!(!again[0].duplicate);
    assert!(fixture.next(&queue).await.id == "a");
}

pub(super) async fn an_id_is_remembered_while_another_queue_has_its_message(fixture: Fixture) {
    let billing = fixture.queue_with_topics("billing", &["orders"]).await;
    let shipping = fixture.queue_with_topics("shipping", &["orders"]).await;
    fixture.publish("orders", "a").await;
    let delivery = fixture.next(&billing).await;
    let why = evidence(&delivery, Reason::Rejected, "no");
    delivery.lease.reject(why).await.unwrap();
    assert_eq!(fixture.dead().purge(&DeadLetterFilter::default()).await.unwrap(), 1);
    let again = fixture.broker.publish(vec![publication("orders", "a")]).await.unwrap();
    assert!(again[0].duplicate, "shipping would get it twice");
    fixture.finds(&shipping, &["a"]).await;
}

pub(super) async fn several_queues_on_one_topic_each_get_every_message(fixture: Fixture) {
    let billing = fixture.queue_with_topics("billing", &["orders"]).await;
    let shipping = fixture.queue_with_topics("shipping", &["orders"]).await;
    fixture.publish("orders", "a").await;
    fixture.publish("shipping", "b").await;
    fixture.next(&billing).await.lease.ack(Vec::new()).await.unwrap();
    fixture.finds(&billing, &[]).await;
    fixture.finds(&shipping, &["a", "b"]).await;
}

pub(super) async fn a_topic_without_a_queue_keeps_its_messages_until_one_takes_them(fixture: Fixture) {
    fixture.publish("orders", "a").await;
    fixture.publish("orders", "b").await;
    assert_eq!(fixture.stats("orders").await.ready, 2);
    let queue = fixture.queue_with_topics("billing", &["orders"]).await;
    fixture.finds(&queue, &["a", "b"]).await;
    fixture.publish("letters", "c").await;
    let queue = fixture.queue("letters").await;
    fixture.finds(&queue, &["c"]).await;
}

pub(super) async fn a_queue_that_is_declared_again_keeps_its_messages_and_changes_its_topics(fixture: Fixture) {
    fixture.queue_with_topics("billing", &["orders"]).await;
    fixture.publish("orders", "a").await;
    let queue = fixture.queue_with_topics("billing", &["refunds"]).await;
    fixture.publish("orders", "b").await;
    fixture.publish("refunds", "c").await;
    fixture.finds(&queue, &["a", "c"]).await;
}

pub(super) async fn a_delayed_message_waits_for_its_time(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    let delay = fixture.seconds(10);
    let since = Instant::now();
    fixture.publish_all(vec![Publication { delay, ..publication("orders", "late") }]).await;
    fixture.publish("orders", "early").await;
    fixture.counts("orders", |stats| stats.delayed, 1).await;
    let early = fixture.next(&queue).await;
    assert_eq!((early.body.as_ref(), early.deliveries), (&b"early"[..], 1));
    early.lease.ack(Vec::new()).await.unwrap();
    let late = fixture.next_after(&queue, since, delay).await;
    assert_eq!((late.body.as_ref(), late.deliveries, late.failures), (&b"late"[..], 1, 0));
}

pub(super) async fn an_expired_message_is_not_delivered_but_counted(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    let ttl = Some(fixture.seconds(20));
    let short_lived = Publication { ttl, ..publication("orders", "short-lived") };
    fixture.publish_all(vec![short_lived, publication("orders", "long-lived")]).await;
    if fixture.is_manual() {
        fixture.pass(19).await;
    }
    fixture.finds(&queue, &["short-lived", "long-lived"]).await;
    fixture.pass(if fixture.is_manual() { 2 } else { 20 }).await;
    fixture.finds(&queue, &["long-lived"]).await;
    assert_eq!(fixture.stats("orders").await.expired, 1);
}

pub(super) async fn what_cannot_be_published_is_refused_by_name_and_nothing_of_its_batch_stays(fixture: Fixture) {
    let queue = fixture.queue("orders").await;
    let mut reserved = Attributes::new();
    reserved.set("wasmpost-hops", "0");
    let mut broken = Attributes::new();
    broken.set("Tag", "one\r\nTwo: 2");
    let body = "x".to_owned();
    let many: Attributes = (0..1025).map(|_| ("Tag", "")).collect();
    let late = Duration::from_secs(400 * 24 * 60 * 60 * 10);
    let second = Duration::from_secs(1);
    let wrong = [
        (Publication::new("orders", many, body.clone()), "1025 values"),
        (Publication { delay: late, ..publication("orders", "x") }, "delay"),
        (publication("", "x"), "name"),
        (publication("or ders", "x"), "or ders"),
        (publication("../orders", "x"), "../orders"),
        (Publication::new("orders", reserved, body.clone()), "Wasmpost-Hops"),
        (Publication::new("orders", broken, body.clone()), "Tag"),
        (Publication { id: Some(String::new()), ..publication("orders", "x") }, "id"),
        (Publication { key: Some("a\nb".into()), ..publication("orders", "x") }, "key"),
        (Publication { ttl: Some(Duration::ZERO), ..publication("orders", "x") }, "time to live"),
        (Publication { ttl: Some(second), delay: second, ..publication("orders", "x") }, "delay of 1s"),
    ];
    for (publication_refused, named) in wrong {
        let batch = vec![publication("orders", "neighbour"), publication_refused];
        let error = fixture.broker.publish(batch).await.unwrap_err();
        assert_eq!(error.kind(), BrokerErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(named), "{error} names {named}");
    }
    fixture.finds(&queue, &[]).await;
}

pub(super) async fn a_wrong_name_of_a_queue_is_refused(fixture: Fixture) {
    let spec = QueueSpec { topics: vec!["a*".into()], ..QueueSpec::new("orders") };
    for spec in [QueueSpec::new("a b"), QueueSpec::new(""), spec] {
        let error = fixture.broker.queue(spec).await.err().expect("queue is refused");
        assert_eq!(error.kind(), BrokerErrorKind::Invalid, "{error}");
    }
}
