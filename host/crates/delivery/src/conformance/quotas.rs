//! Quotas of tenants.

use super::Fixture;
use super::fixture::publication;
use crate::{BrokerErrorKind, DeadLetterFilter, Evidence, Nack, TenantQuota};
use wasmpost_msg::Reason;

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
    let (orders, other) = (fixture.queue("@acme/orders").await, fixture.queue("@beta/orders").await);
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
