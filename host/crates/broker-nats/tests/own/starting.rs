//! Checks when a host starts.

use std::time::Duration;

use wasmpost_broker_nats::NatsBroker;
use wasmpost_delivery::{Access, Broker, BrokerErrorKind, QueueSpec};
use wasmpost_tests::servers::NatsServer;

use crate::open;

pub(crate) async fn a_stream_that_differs_is_refused_by_its_field_and_changed_when_asked() {
    let server = NatsServer::start().await.unwrap();
    open(&server, "/jobs?max_bytes=1000000").await.unwrap();
    open(&server, "/jobs").await.expect("what is not said is not checked");
    let error = open(&server, "/jobs?max_bytes=2000000").await.err().unwrap();
    assert_eq!(error.kind(), BrokerErrorKind::Invalid);
    let text = error.to_string();
    assert!(text.contains("\"jobs\"") && text.contains("max_bytes is 1000000, expected 2000000"), "{text}");
    open(&server, "/jobs?max_bytes=2000000&create=update").await.unwrap();
    open(&server, "/jobs?max_bytes=2000000").await.unwrap();
}

pub(crate) async fn a_consumer_that_differs_is_refused_by_its_field_and_changed_when_asked() {
    let server = NatsServer::start().await.unwrap();
    let spec = |seconds| QueueSpec { lease: Duration::from_secs(seconds), ..QueueSpec::new("orders") };
    open(&server, "/jobs").await.unwrap().queue(spec(40)).await.unwrap();
    let other = open(&server, "/jobs").await.unwrap();
    let error = other.queue(spec(20)).await.err().unwrap();
    assert_eq!(error.kind(), BrokerErrorKind::Invalid);
    let text = error.to_string();
    assert!(text.contains("\"orders\"") && text.contains("ack_wait is 50s, expected 25s"), "{text}");
    open(&server, "/jobs?create=update").await.unwrap().queue(spec(20)).await.unwrap();
    other.queue(spec(20)).await.unwrap();
}

pub(crate) async fn a_missing_stream_is_not_made_when_told_not_to() {
    let server = NatsServer::start().await.unwrap();
    let error = open(&server, "/jobs?create=no").await.err().unwrap();
    assert_eq!(error.kind(), BrokerErrorKind::NotFound);
    assert!(error.to_string().contains("\"jobs\""), "{error}");
    let broker = open(&server, "/jobs").await.unwrap();
    let strict = open(&server, "/jobs?create=no").await.unwrap();
    let error = strict.queue(QueueSpec::new("orders")).await.err().unwrap();
    assert_eq!(error.kind(), BrokerErrorKind::NotFound);
    assert!(error.to_string().contains("\"orders\""), "{error}");
    broker.queue(QueueSpec::new("orders")).await.unwrap();
    strict.queue(QueueSpec::new("orders")).await.unwrap();
}

pub(crate) async fn hosts_that_disagree_on_partitions_are_refused() {
    let server = NatsServer::start().await.unwrap();
    open(&server, "/jobs?partitions=4").await.unwrap();
    let error = open(&server, "/jobs?partitions=8").await.err().unwrap().to_string();
    assert!(error.contains("partitions is 4, expected 8"), "{error}");
    assert!(open(&server, "/jobs").await.unwrap().capabilities().ordering_keys);
    assert!(!open(&server, "/free?partitions=0").await.unwrap().capabilities().ordering_keys);
}

pub(crate) async fn a_server_that_is_not_there_is_named() {
    let mut server = NatsServer::start().await.unwrap();
    server.kill();
    let error = NatsBroker::open(&server.url(), &Access::default()).await.err().unwrap();
    assert_eq!(error.kind(), BrokerErrorKind::Unavailable);
    assert!(error.to_string().contains(&server.url()), "{error}");
}
