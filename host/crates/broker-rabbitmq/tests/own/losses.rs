//! Connections, queues and hosts that end.

use std::time::Duration;

use lapin::options::QueueDeleteOptions;
use wasmpost_delivery::{Broker, BrokerErrorKind, DeadLetterFilter, DeadLetters, QueueSpec};
use wasmpost_msg::Reason;
use wasmpost_tests::proxy::Proxy;
use wasmpost_tests::servers::virtual_hosts::VirtualHost;

use crate::topology::client;
use crate::work::{next, open, publication, publish_patiently, serve, until};

pub(crate) async fn serving_goes_on_after_a_restart_of_the_server(host: VirtualHost) {
    let broker = open(&host.url()).await;
    let (_server, notes) = serve(&broker, "orders", 4).await;
    publish_patiently(&broker, publication("orders", "before")).await;
    until("the first message is served", async || notes.ids().await.len() == 1).await;
    host.restart_server().await;
    publish_patiently(&broker, publication("orders", "later")).await;
    until("the second message is served", async || notes.ids().await == ["before", "later"]).await;
}

pub(crate) async fn serving_goes_on_after_the_connection_was_cut(host: VirtualHost) {
    let proxy = Proxy::start(host.port()).await;
    let broker = open(&host.url_at(proxy.port())).await;
    let (_server, notes) = serve(&broker, "orders", 4).await;
    for round in 0..3 {
        publish_patiently(&broker, publication("orders", round)).await;
        until("a message is served", async || notes.ids().await.len() == round + 1).await;
        proxy.cut().await;
    }
}

pub(crate) async fn serving_goes_on_after_the_queue_was_deleted(host: VirtualHost) {
    let broker = open(&host.url()).await;
    let (_server, notes) = serve(&broker, "orders", 4).await;
    publish_patiently(&broker, publication("orders", 0)).await;
    until("a message is served", async || notes.ids().await.len() == 1).await;
    let channel = client(&host).await.create_channel().await.unwrap();
    channel.queue_delete("wasmpost.queue.orders".into(), QueueDeleteOptions::default()).await.unwrap();
    // A message that is published before the queue is declared again is stored, or its publisher gets an error.
    publish_patiently(&broker, publication("orders", 1)).await;
    until("a message is served", async || notes.ids().await.len() == 2).await;
}

pub(crate) async fn a_lease_of_a_connection_that_was_cut_is_stale(host: VirtualHost) {
    let proxy = Proxy::start(host.port()).await;
    let broker = open(&host.url_at(proxy.port())).await;
    let queue = broker.queue(QueueSpec::new("orders")).await.unwrap();
    publish_patiently(&broker, publication("orders", "a")).await;
    let held = next(&queue).await;
    let renewer = held.lease.renewer();
    renewer.renew().await.unwrap();
    proxy.cut().await;
    until("the loss is noticed", async || renewer.renew().await.is_err()).await;
    assert_eq!(renewer.renew().await.unwrap_err().kind(), BrokerErrorKind::Stale);
    let error = held.lease.ack(vec![publication("invoices", "b")]).await.unwrap_err();
    assert_eq!(error.kind(), BrokerErrorKind::Stale);
    // The pull that meets the loss may fail; the next ones do not.
    until("the message comes again", async || match queue.pull(1).await {
        Ok(mut pulled) => {
            let again = pulled.pop().unwrap();
            assert_eq!((again.id.as_str(), again.deliveries, again.failures), ("a", 2, 0));
            true
        }
        Err(_) => false,
    })
    .await;
    let stats = broker.stats().await.unwrap();
    assert!(stats.iter().all(|stats| stats.queue != "invoices"), "a stale ack published nothing");
}

pub(crate) async fn a_message_that_ends_its_hosts_again_and_again_is_quarantined(host: VirtualHost) {
    let broker = open(&host.url()).await;
    broker.publish(vec![publication("orders", "poison")]).await.unwrap();
    for ended in 1..=5 {
        let host = open(&host.url()).await;
        let queue = host.queue(QueueSpec::new("orders")).await.unwrap();
        let held = next(&queue).await;
        assert_eq!((held.deliveries, held.failures), (ended, 0));
        host.close().await.unwrap();
    }
    let queue = broker.queue(QueueSpec::new("orders")).await.unwrap();
    let pulling = tokio::spawn(async move { queue.pull(1).await.map(|pulled| pulled.len()) });
    let all = DeadLetterFilter::default();
    until("it is a dead letter", async || !broker.show(&all, 0, 10).await.unwrap().is_empty()).await;
    let letter = broker.show(&all, 0, 10).await.unwrap().remove(0);
    assert_eq!((letter.id.as_str(), letter.deliveries, letter.evidence.reason), ("poison", 5, Reason::Crash));
    assert!(!pulling.is_finished(), "no receiver gets it");
    assert_eq!(broker.redrive(&all).await.unwrap(), 1);
    assert_eq!(tokio::time::timeout(Duration::from_secs(30), pulling).await.unwrap().unwrap().unwrap(), 1);
}
