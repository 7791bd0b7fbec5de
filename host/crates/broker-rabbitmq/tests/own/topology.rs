//! Declarations and checks, authentication, and messages of other clients.

use lapin::options::{BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use wasmpost_broker_rabbitmq::{RabbitBroker, RabbitOptions};
use wasmpost_delivery::{Access, Broker, BrokerErrorKind, Nack, QueueSpec};
use wasmpost_msg::{Attributes, Publication};
use wasmpost_tests::PATIENCE;
use wasmpost_tests::servers::virtual_hosts::VirtualHost;

use crate::work::{next, open, publication};

/// Another client.
pub(crate) async fn client(host: &VirtualHost) -> Connection {
    Connection::connect(&host.url(), ConnectionProperties::default()).await.unwrap()
}

pub(crate) async fn a_queue_that_differs_is_an_error_that_says_in_what(host: VirtualHost) {
    let channel = client(&host).await.create_channel().await.unwrap();
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("wasmpost.queue.orders".into(), durable, FieldTable::default()).await.unwrap();
    let broker = open(&host.url()).await;
    let error = broker.queue(QueueSpec::new("orders")).await.err().unwrap();
    assert_eq!(error.kind(), BrokerErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("wasmpost.queue.orders") && error.to_string().contains("x-"), "{error}");
    // Others are declared as if nothing had been.
    broker.queue(QueueSpec::new("invoices")).await.unwrap();
}

pub(crate) async fn a_refused_user_is_told_and_no_secret_is_shown(host: VirtualHost) {
    let refused = async |url: &str| RabbitBroker::open(url, RabbitOptions::default()).await.err().unwrap();
    let wrong = refused(&host.url().replace(":guest@", ":hunter2@")).await;
    assert_eq!(wrong.kind(), BrokerErrorKind::Invalid, "{wrong}");
    assert!(wrong.to_string().contains("ACCESS_REFUSED") && !wrong.to_string().contains("hunter2"), "{wrong}");
    let elsewhere = refused(&host.url().replace("/case-", "/nowhere-")).await;
    assert_eq!(elsewhere.kind(), BrokerErrorKind::Invalid, "{elsewhere}");
    assert!(elsewhere.to_string().contains("nowhere-"), "{elsewhere}");
    let nobody = refused("amqp://127.0.0.1:1").await;
    assert_eq!(nobody.kind(), BrokerErrorKind::Unavailable, "{nobody}");
}

pub(crate) async fn an_encrypted_connection_is_checked_against_the_authority_that_is_given(host: VirtualHost) {
    let access = |ca: Option<&str>, client: Option<&str>| Access {
        user: Some("guest".into()),
        password: Some("guest".to_owned().into()),
        ca_file: ca.map(|ca| host.file(ca)),
        certificate_file: client.map(|client| host.file(&format!("{client}.pem"))),
        key_file: client.map(|client| host.file(&format!("{client}.key"))),
        ..Access::default()
    };
    let open = async |access| {
        RabbitBroker::open(&host.encrypted_url(), RabbitOptions { access, ..RabbitOptions::default() }).await
    };
    for client in [None, Some("client")] {
        let broker = open(access(Some("ca.pem"), client)).await.unwrap();
        let queue = broker.queue(QueueSpec::new("orders")).await.unwrap();
        broker.publish(vec![publication("orders", 1)]).await.unwrap();
        next(&queue).await.lease.ack(Vec::new()).await.unwrap();
    }
    for unknown in [access(None, None), access(Some("client.pem"), None)] {
        let error = open(unknown).await.err().unwrap().to_string();
        assert!(error.contains("certificate"), "{error}");
    }
}

pub(crate) async fn a_message_that_no_queue_takes_is_an_error_and_the_next_one_finds_a_queue(host: VirtualHost) {
    let broker = open(&host.url()).await;
    broker.publish(vec![publication("orders", 1)]).await.unwrap();
    let channel = client(&host).await.create_channel().await.unwrap();
    channel.queue_delete("wasmpost.kept.orders".into(), QueueDeleteOptions::default()).await.unwrap();
    let both = vec![publication("invoices", 2), publication("orders", 2)];
    let error = broker.publish(both).await.unwrap_err();
    assert_eq!(error.kind(), BrokerErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("returned"), "{error}");
    broker.publish(vec![publication("orders", 3)]).await.unwrap();
    let queue = broker.queue(QueueSpec::new("orders")).await.unwrap();
    assert_eq!(next(&queue).await.id, "3");
}

pub(crate) async fn a_name_that_does_not_fit_is_refused(host: VirtualHost) {
    let broker = open(&host.url()).await;
    let long = "x".repeat(240);
    let error = broker.publish(vec![publication(&long, 1)]).await.unwrap_err();
    assert_eq!(error.kind(), BrokerErrorKind::Invalid, "{error}");
    assert!(broker.queue(QueueSpec::new(long)).await.is_err());
}

pub(crate) async fn messages_of_other_clients_come_with_their_headers_and_keep_one_id(host: VirtualHost) {
    let broker = open(&host.url()).await;
    let queue = broker.queue(QueueSpec::new("orders")).await.unwrap();
    let channel = client(&host).await.create_channel().await.unwrap();
    let mut headers = FieldTable::default();
    headers.insert("X-Source".into(), AMQPValue::LongString("till 7".into()));
    headers.insert("retries".into(), AMQPValue::LongInt(3));
    let properties = BasicProperties::default().with_content_type("text/plain".into()).with_headers(headers);
    let exchange = "wasmpost.topic.orders".into();
    let options = BasicPublishOptions::default();
    channel.basic_publish(exchange, "".into(), options, b"hello", properties).await.unwrap();
    let first = next(&queue).await;
    assert_eq!((first.topic.as_str(), first.body.as_ref()), ("orders", &b"hello"[..]));
    assert_eq!(first.attributes.values("x-source"), ["till 7"]);
    assert_eq!(
        (first.attributes.get("Retries"), first.attributes.get("Content-Type")),
        (Some("3"), Some("text/plain"))
    );
    let id = first.id.clone();
    first.lease.nack(Nack::give_back()).await.unwrap();
    assert_eq!(next(&queue).await.id, id);
}

pub(crate) async fn attributes_that_fit_into_no_frame_arrive(host: VirtualHost) {
    let broker = open(&host.url()).await;
    let queue = broker.queue(QueueSpec::new("orders")).await.unwrap();
    let attributes: Attributes = [("large".to_owned(), "x".repeat(200_000))].into_iter().collect();
    let sent = Publication::new("orders", attributes, vec![7; 3_000_000]);
    broker.publish(vec![sent.clone()]).await.unwrap();
    let got = next(&queue).await;
    assert_eq!(got.attributes, sent.attributes);
    assert!(got.body == sent.body, "body is byte-identical");
}

pub(crate) async fn looking_at_queues_waits_for_no_lock_and_sees_those_of_other_hosts(host: VirtualHost) {
    let one = open(&host.url()).await;
    let other = open(&host.url()).await;
    let names = async |broker: &RabbitBroker| {
        let stats = tokio::time::timeout(PATIENCE / 4, broker.stats()).await.unwrap().unwrap();
        stats.into_iter().map(|stats| stats.queue).collect::<Vec<_>>()
    };
    one.queue(QueueSpec::new("orders")).await.unwrap();
    assert_eq!(names(&other).await, ["orders"]);
    let invoices = other.queue(QueueSpec::new("invoices")).await.unwrap();
    assert_eq!(names(&one).await, ["invoices", "orders"]);
    // Somebody changes the catalogue, and takes long for it.
    let channel = client(&host).await.create_channel().await.unwrap();
    let alone = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("wasmpost.lock".into(), alone, FieldTable::default()).await.unwrap();
    assert_eq!(names(&one).await, ["invoices", "orders"]);
    tokio::time::timeout(PATIENCE / 4, invoices.drained()).await.unwrap().unwrap();
}
