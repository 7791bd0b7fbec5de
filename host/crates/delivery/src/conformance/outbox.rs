//! Acknowledging and publishing what the receiver wrote.

use super::Fixture;
use super::fixture::publication;
use crate::error::BrokerErrorKind;

pub(super) async fn an_ack_publishes_its_outbox(fixture: Fixture) {
    let orders = fixture.queue("orders").await;
    let invoices = fixture.queue("invoices").await;
    fixture.publish("orders", "order").await;
    let delivery = fixture.next(&orders).await;
    fixture.finds(&invoices, &[]).await;
    let outbox = vec![publication("invoices", "one"), publication("nobody", "kept"), publication("invoices", "two")];
    delivery.lease.ack(outbox).await.unwrap();
    fixture.finds(&orders, &[]).await;
    fixture.finds(&invoices, &["one", "two"]).await;
    assert_eq!(fixture.stats("nobody").await.ready, 1);
}

pub(super) async fn a_stale_ack_publishes_nothing(fixture: Fixture) {
    let orders = fixture.queue_with_leases("orders", 5).await;
    let invoices = fixture.queue("invoices").await;
    fixture.publish("orders", "order").await;
    let lapsed = fixture.next(&orders).await;
    fixture.pass_lease(&orders).await;
    let error = lapsed.lease.ack(vec![publication("invoices", "one")]).await.unwrap_err();
    assert_eq!(error.kind(), BrokerErrorKind::Stale);
    fixture.finds(&invoices, &[]).await;
    fixture.finds(&orders, &["order"]).await;
}
