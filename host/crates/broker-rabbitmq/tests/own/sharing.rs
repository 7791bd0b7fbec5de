//! Several hosts at one queue.

use std::time::{Duration, Instant};

use wasmpost_delivery::{Attempt, AttemptVerdict, Broker, Nack, QueueSpec, Timestamp};
use wasmpost_msg::Reason;
use wasmpost_tests::servers::virtual_hosts::VirtualHost;

use crate::work::{next, open, publication, serve, until};

pub(crate) async fn two_hosts_share_the_messages_of_a_queue(host: VirtualHost) {
    const MESSAGES: usize = 400;
    let one = open(&host.url()).await;
    let other = open(&host.url()).await;
    let (_one, by_one) = serve(&one, "orders", 8).await;
    let (_other, by_other) = serve(&other, "orders", 8).await;
    for batch in 0..MESSAGES / 20 {
        let batch = (0..20).map(|number| publication("orders", batch * 20 + number));
        one.publish(batch.collect()).await.unwrap();
    }
    until("all messages are served", async || by_one.times().await + by_other.times().await >= MESSAGES).await;
    let one = by_one.ids().await;
    let other = by_other.ids().await;
    assert_eq!(one.len() + other.len(), MESSAGES, "each message came to one host, once");
    assert!(!one.is_empty() && !other.is_empty(), "{} and {}", one.len(), other.len());
}

pub(crate) async fn a_host_that_has_what_it_asked_for_takes_no_more(host: VirtualHost) {
    let one = open(&host.url()).await;
    let other = open(&host.url()).await;
    let (here, there) =
        (one.queue(QueueSpec::new("orders")).await.unwrap(), other.queue(QueueSpec::new("orders")).await.unwrap());
    one.publish((0..30).map(|number| publication("orders", number)).collect()).await.unwrap();
    let held = next(&here).await;
    let mut taken = Vec::new();
    while taken.len() < 29 {
        let pulled = tokio::time::timeout(Duration::from_secs(10), there.pull(29 - taken.len())).await;
        taken.extend(pulled.expect("nothing is kept from it").unwrap());
    }
    assert!(taken.iter().all(|delivery| delivery.deliveries == 1), "none was taken and put back");
    assert_eq!(held.id, "0");
}

pub(crate) async fn messages_not_asked_for_go_back_when_nobody_pulls(host: VirtualHost) {
    let one = open(&host.url()).await;
    let other = open(&host.url()).await;
    let here = one.queue(QueueSpec::new("orders")).await.unwrap();
    let there = other.queue(QueueSpec::new("orders")).await.unwrap();
    // It asks for ten, and is gone before there is one.
    drop(tokio::time::timeout(Duration::from_millis(200), here.pull(10)).await);
    one.publish((0..10).map(|number| publication("orders", number)).collect()).await.unwrap();
    let mut taken = Vec::new();
    while taken.len() < 10 {
        let pulled = tokio::time::timeout(Duration::from_secs(10), there.pull(10)).await;
        taken.extend(pulled.expect("all come to the other").unwrap());
    }
}

pub(crate) async fn a_delay_of_several_hops_is_not_shortened_by_another_host(host: VirtualHost) {
    let one = open(&host.url()).await;
    let other = open(&host.url()).await;
    let here = one.queue(QueueSpec::new("orders")).await.unwrap();
    let there = other.queue(QueueSpec::new("orders")).await.unwrap();
    one.publish(vec![publication("orders", "a")]).await.unwrap();
    let delay = Duration::from_millis(2700);
    let since = Instant::now();
    let attempt = Attempt {
        number: 1,
        started_at: Timestamp::default(),
        duration: Duration::ZERO,
        verdict: AttemptVerdict::Nack,
        delay: Some(delay),
        reason: Reason::Failed,
        error: "no".into(),
    };
    next(&here).await.lease.nack(Nack { delay, attempt: Some(attempt) }).await.unwrap();
    let again = next(&there).await;
    let waited = since.elapsed();
    assert!(waited >= delay && waited < delay * 3, "{waited:?}");
    assert_eq!((again.deliveries, again.failures), (2, 1));
}
