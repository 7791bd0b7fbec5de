//! Quotas of tenants.

use super::Fixture;
use super::fixture::publication;
use crate::dead_letter::{DeadLetterFilter, Evidence};
use crate::error::BrokerErrorKind;
use crate::lease::Nack;
use crate::quota::TenantQuota;
use wasmpost_msg::{Publication, Reason};

async fn limited(fixture: &Fixture, messages_max: u64) {
    fixture.broker.set_quotas([("acme".to_owned(), TenantQuota::of_messages(messages_max))].into()).await.unwrap();
}

async fn is_full(fixture: &Fixture, topic: &str, body: &str) -> bool {
    match fixture.broker.publish(vec![publication(topic, body)]).await {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), BrokerErrorKind::Full);
            assert!(error.to_string().contains("acme"), "{error}");
            true
        }
    }
}

pub(super) async fn a_tenant_that_has_as_much_as_it_may_gets_no_more(fixture: Fixture) {
    limited(&fixture, 3).await;
    let orders = fixture.queue("@acme/orders").await;
    let other = fixture.queue("@beta/orders").await;
    fixture.publish_all(vec![publication("@acme/orders", "1"), publication("@acme/nobody", "2")]).await;
    let two = vec![publication("@acme/orders", "3"), publication("@acme/orders", "4")];
    assert!(orders.room(&two).is_err() && orders.room(&two[..1]).is_ok());
    assert_eq!(fixture.broker.publish(two).await.unwrap_err().kind(), BrokerErrorKind::Full);
    fixture.publish("@acme/orders", "3").await;
    assert!(is_full(&fixture, "@acme/orders", "4").await && is_full(&fixture, "@acme/elsewhere", "4").await);
    // Neither other tenants nor what belongs to none are kept from publishing.
    fixture.publish("@beta/orders", "other").await;
    fixture.publish("acme/orders", "nobody's").await;
    assert_eq!(fixture.next(&other).await.body, "other");
    // A delivery that is put back is still there; one that is acked makes room.
    fixture.next(&orders).await.lease.nack(Nack::give_back()).await.unwrap();
    assert!(is_full(&fixture, "@acme/orders", "4").await);
    fixture.next(&orders).await.lease.ack(Vec::new()).await.unwrap();
    assert!(!is_full(&fixture, "@acme/orders", "4").await);
}

pub(super) async fn what_never_has_room_is_told_apart(fixture: Fixture) {
    limited(&fixture, 3).await;
    let orders = fixture.queue("@acme/orders").await;
    fixture.publish("@acme/orders", "0").await;
    let some = |count: usize| (1..=count).map(|number| publication("@acme/orders", &number.to_string())).collect();
    let later: Vec<_> = some(3);
    let never: Vec<_> = some(4);
    for (publications, kind) in [(later, BrokerErrorKind::Full), (never, BrokerErrorKind::Limit)] {
        let refused = [orders.room(&publications).err(), fixture.broker.publish(publications).await.err()];
        assert_eq!(refused.map(|error| error.map(|error| error.kind())), [Some(kind); 2]);
    }
}

pub(super) async fn a_message_counts_once_however_many_queues_have_it(fixture: Fixture) {
    limited(&fixture, 2).await;
    let billing = fixture.queue_with_topics("@acme/billing", &["@acme/orders"]).await;
    let shipping = fixture.queue_with_topics("@acme/shipping", &["@acme/orders"]).await;
    fixture.publish_all(vec![publication("@acme/orders", "1"), publication("@acme/orders", "2")]).await;
    assert!(is_full(&fixture, "@acme/orders", "3").await);
    fixture.next(&billing).await.lease.ack(Vec::new()).await.unwrap();
    assert!(is_full(&fixture, "@acme/orders", "3").await, "the other queue still has it");
    fixture.next(&shipping).await.lease.ack(Vec::new()).await.unwrap();
    assert!(!is_full(&fixture, "@acme/orders", "3").await);
}

pub(super) async fn topics_that_no_queue_takes_from_are_bounded(fixture: Fixture) {
    let quota = |topics| [("acme".to_owned(), TenantQuota { topics: Some(topics), ..TenantQuota::default() })].into();
    fixture.broker.set_quotas(quota(2)).await.unwrap();
    let orders = fixture.queue("@acme/orders").await;
    for topic in ["@acme/a", "@acme/b", "@acme/orders", "@acme/a", "@beta/a", "@beta/b", "@beta/c", "a", "b", "c"] {
        fixture.publish(topic, topic).await;
    }
    let third = || vec![publication("@acme/orders", "third"), publication("@acme/c", "third")];
    let error = fixture.broker.publish(third()).await.unwrap_err();
    assert_eq!((error.kind(), orders.room(&third()).unwrap_err().kind()), (BrokerErrorKind::Limit, error.kind()));
    assert!(error.to_string().contains("@acme/c"), "{error}");
    fixture.queue_with_topics("@acme/taker", &["@acme/b"]).await;
    fixture.publish_all(third()).await;
    fixture.finds(&orders, &["@acme/orders", "third"]).await;
    fixture.broker.set_quotas(quota(1)).await.unwrap();
    fixture.publish("@acme/c", "one that is there is published to").await;
}

pub(super) async fn a_topic_whose_messages_have_expired_makes_room(fixture: Fixture) {
    let quota = TenantQuota { topics: Some(1), ..TenantQuota::default() };
    fixture.broker.set_quotas([("acme".to_owned(), quota)].into()).await.unwrap();
    let ttl = Some(fixture.seconds(5));
    fixture.publish_all(vec![Publication { ttl, ..publication("@acme/a", "1") }]).await;
    assert_eq!(
        fixture.broker.publish(vec![publication("@acme/b", "2")]).await.unwrap_err().kind(),
        BrokerErrorKind::Limit
    );
    fixture.pass(6).await;
    // Messages expire when the broker next looks.
    drop(fixture.broker.stats().await.unwrap());
    fixture.publish("@acme/b", "2").await;
}

pub(super) async fn dead_letters_count_until_they_are_purged(fixture: Fixture) {
    limited(&fixture, 1).await;
    let orders = fixture.queue("@acme/orders").await;
    fixture.publish("@acme/orders", "1").await;
    let delivery = fixture.next(&orders).await;
    delivery.lease.reject(Evidence::by_host(Reason::Rejected, "no")).await.unwrap();
    assert!(is_full(&fixture, "@acme/orders", "2").await);
    assert_eq!(fixture.dead().purge(&DeadLetterFilter::default()).await.unwrap(), 1);
    assert!(!is_full(&fixture, "@acme/orders", "2").await);
}

pub(super) async fn what_a_file_had_before_counts(fixture: Fixture) {
    fixture.publish_all(vec![publication("@acme/orders", "1"), publication("@acme/orders", "2")]).await;
    limited(&fixture, 2).await;
    assert!(is_full(&fixture, "@acme/orders", "3").await);
    limited(&fixture, 3).await;
    assert!(!is_full(&fixture, "@acme/orders", "3").await);
}
