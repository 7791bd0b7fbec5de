//! Several hosts at one broker, and a broker that ends in mid-work.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Fixture;
use super::fixture::{in_time, publication};
use crate::broker::Queue;
use crate::lease::Nack;

pub(super) async fn two_hosts_share_a_queue_without_loss(fixture: Fixture) {
    const MESSAGES: usize = 200;
    let other = fixture.another().await;
    let queues = [fixture.queue("orders").await, other.queue("orders").await];
    let numbers: Vec<_> = (0..MESSAGES).map(|number| number.to_string()).collect();
    for (at, half) in numbers.chunks(MESSAGES / 2).enumerate() {
        let publisher = if at == 0 { &fixture } else { &other };
        publisher.publish_all(half.iter().map(|body| publication("orders", body)).collect()).await;
    }
    let taking = queues.map(|queue| tokio::spawn(take_until_drained(queue)));
    let mut ids = Vec::new();
    for taken in taking {
        ids.extend(taken.await.unwrap());
    }
    let distinct: BTreeSet<_> = ids.iter().collect();
    assert_eq!((ids.len(), distinct.len()), (MESSAGES, MESSAGES), "each message came once");
    other.broker.close().await.unwrap();
}

/// Acks every second message, and puts the others back once.
async fn take_until_drained(queue: Arc<dyn Queue>) -> Vec<String> {
    let mut ids = Vec::new();
    let mut drained = Box::pin(queue.drained());
    loop {
        let pulled = tokio::select! {
            pulled = queue.pull(7) => pulled.unwrap(),
            result = in_time(&mut drained) => {
                result.unwrap();
                return ids;
            }
        };
        for delivery in pulled {
            if delivery.deliveries == 1 && ids.len() % 2 == 1 {
                delivery.lease.nack(Nack::give_back()).await.unwrap();
                continue;
            }
            ids.push(delivery.id.clone());
            delivery.lease.ack(Vec::new()).await.unwrap();
        }
    }
}

pub(super) async fn what_a_host_had_when_it_ended_comes_to_another(fixture: Fixture) {
    let other = fixture.another().await;
    let queue = fixture.queue_with_leases("orders", 10).await;
    let theirs = other.queue_with_leases("orders", 10).await;
    fixture.publish("orders", "a").await;
    fixture.publish("orders", "b").await;
    let held = other.next(&theirs).await;
    other.broker.close().await.unwrap();
    drop((held, theirs, other));
    let mut got = Vec::new();
    for _ in 0..2 {
        let delivery = fixture.next(&queue).await;
        got.push(delivery.id.clone());
        delivery.lease.ack(Vec::new()).await.unwrap();
    }
    got.sort();
    assert_eq!(got, ["a", "b"]);
    in_time(queue.drained()).await.unwrap();
}

pub(super) async fn what_one_host_declares_holds_for_all(fixture: Fixture) {
    let other = fixture.another().await;
    other.publish("orders", "before").await;
    let billing = fixture.queue_with_topics("billing", &["orders"]).await;
    let shipping = fixture.queue_with_topics("shipping", &["orders"]).await;
    let refunds = other.queue_with_topics("shipping", &["orders"]).await;
    other.publish("orders", "a").await;
    fixture.publish("orders", "b").await;
    fixture.takes(&billing, &["before", "a", "b"]).await;
    let taken = other.takes(&refunds, &["a", "b"]).await;
    fixture.finds(&shipping, &[]).await;
    drop(taken);
    other.broker.close().await.unwrap();
}

pub(super) async fn confirmed_messages_survive_a_restart_of_what_keeps_them(fixture: Fixture) {
    let queue = fixture.queue_with_leases("orders", 10).await;
    let numbers: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    fixture.publish_all(numbers.iter().map(|body| publication("orders", body)).collect()).await;
    let acked = fixture.next(&queue).await;
    let id = acked.id.clone();
    acked.lease.ack(vec![publication("invoices", "invoice")]).await.unwrap();
    // One is in flight when it happens; its lease ends with the crash or by its time.
    let held = fixture.next(&queue).await;
    drop(queue);
    let fixture = fixture.restarted().await;
    let queue = fixture.queue_with_leases("orders", 10).await;
    drop(held);
    let mut seen = BTreeSet::new();
    while seen.len() < numbers.len() - 1 {
        let delivery = fixture.next(&queue).await;
        assert_ne!(delivery.id, id, "what was acked with an outbox does not come again");
        seen.insert(delivery.id.clone());
        delivery.lease.ack(Vec::new()).await.unwrap();
    }
    in_time(queue.drained()).await.unwrap();
    let invoices = fixture.queue("invoices").await;
    fixture.finds(&invoices, &["invoice"]).await;
}
