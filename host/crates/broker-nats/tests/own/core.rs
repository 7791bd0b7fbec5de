//! Subjects without streams.

use wasmpost_broker_nats::NatsCoreBroker;
use wasmpost_delivery::{Access, Broker, BrokerErrorKind, QueueSpec};
use wasmpost_msg::{Attributes, Publication};
use wasmpost_tests::servers::NatsServer;

use crate::{in_time, next, publication};

pub(crate) async fn a_message_without_a_stream_comes_once_to_one_of_a_group() {
    let server = NatsServer::start().await.unwrap();
    let url = format!("nats-core://127.0.0.1:{}", server.port());
    let broker = NatsCoreBroker::open(&url, &Access::default()).await.unwrap();
    let other = NatsCoreBroker::open(&url, &Access::default()).await.unwrap();
    let spec = QueueSpec { topics: vec!["refunds".into()], ..QueueSpec::new("orders.new") };
    let queues = [broker.queue(spec.clone()).await.unwrap(), other.queue(spec).await.unwrap()];
    let attributes: Attributes = [("Tag", "å"), ("tag", "two")].into_iter().collect();
    let sent = Publication { hops: 2, ..Publication::new("refunds", attributes.clone(), "") };
    let receipts = broker.publish(vec![sent]).await.unwrap();
    let [one, two] = queues;
    let delivery = tokio::select! {
        delivery = next(&one) => delivery,
        delivery = next(&two) => delivery,
    };
    assert_eq!((&delivery.id, delivery.topic.as_str(), delivery.hops), (&receipts[0].id, "refunds", 2));
    assert_eq!(delivery.attributes, attributes);
    // A message that fails is not delivered again.
    delivery.lease.nack(wasmpost_delivery::Nack::give_back()).await.unwrap();
    broker.publish(vec![publication("orders.new", "next")]).await.unwrap();
    let delivery = tokio::select! {
        delivery = next(&one) => delivery,
        delivery = next(&two) => delivery,
    };
    assert_eq!((delivery.body.as_ref(), delivery.deliveries), (&b"next"[..], 1));
    assert!(broker.dead_letters().is_none());
    broker.close().await.unwrap();
    assert_eq!(in_time(one.pull(1)).await.err().unwrap().kind(), BrokerErrorKind::Closed);
}

pub(crate) async fn a_message_without_a_stream_cannot_be_delayed() {
    let server = NatsServer::start().await.unwrap();
    let url = format!("nats-core://127.0.0.1:{}", server.port());
    let broker = NatsCoreBroker::open(&url, &Access::default()).await.unwrap();
    let delay = std::time::Duration::from_secs(1);
    let error = broker.publish(vec![Publication { delay, ..publication("orders", "late") }]).await.unwrap_err();
    assert_eq!(error.kind(), BrokerErrorKind::Invalid);
}
