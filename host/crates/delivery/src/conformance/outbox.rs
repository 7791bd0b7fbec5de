//! Acknowledging and publishing in one transaction.

use std::time::Duration;

use super::Fixture;
use super::fixture::publication;
use crate::BrokerErrorKind;

pub(super) async fn an_ack_publishes_its_outbox(fixture: Fixture) {
    let (orders, invoices) = (fixture.queue("orders").await, fixture.queue("invoices").await);
    fixture.publish("orders", "order").await;
    let delivery = fixture.next(&orders).await;
    assert_eq!(fixture.peek(&invoices).await, [""; 0]);
    let outbox = vec![publication("invoices", "one"), publication("nobody", "kept"), publication("invoices", "two")];
    delivery.lease.ack(outbox).await.unwrap();
    assert_eq!(fixture.peek(&orders).await, [""; 0]);
    assert_eq!(fixture.peek(&invoices).await, ["one", "two"]);
    assert_eq!(fixture.stats("nobody").await.ready, 1);
}

pub(super) async fn a_stale_ack_publishes_nothing(fixture: Fixture) {
    let (orders, invoices) = (fixture.queue("orders").await, fixture.queue("invoices").await);
    fixture.publish("orders", "order").await;
    let lapsed = fixture.next(&orders).await;
    fixture.clock.advance(orders.lease() + Duration::from_millis(1));
    let error = lapsed.lease.ack(vec![publication("invoices", "one")]).await.unwrap_err();
    assert_eq!(error.kind(), BrokerErrorKind::Stale);
    assert_eq!(fixture.peek(&invoices).await, [""; 0]);
    assert_eq!(fixture.peek(&orders).await, ["order"]);
}
