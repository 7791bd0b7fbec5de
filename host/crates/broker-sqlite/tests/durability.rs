//! Messages survive the end of the process, and each end counts as a failure of those in flight.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // Broken promises fail a test by panicking.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{File, begun, failed, in_time, next, publication, publish, queue, stats};
use wasmpost_broker_sqlite::{SqliteBroker, SqliteOptions};
use wasmpost_delivery::{Broker, DeadLetterFilter, Nack, QueueSpec, Timestamp};
use wasmpost_msg::{Attributes, Publication, Reason};

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_message_survives_a_crash_byte_for_byte() {
    let file = File::new();
    let mut attributes = Attributes::new();
    attributes.append("content-type", "text/plain; charset=\"utf-8\"");
    attributes.append("tag", "eins");
    attributes.append("tag", "zwei \u{1f426} \\u0000");
    let body: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    let sent = Publication { key: Some("k".into()), hops: 4, ..Publication::new("orders", attributes, body) };
    let broker = file.open().await;
    let receipts = broker.publish(vec![sent.clone()]).await.unwrap();
    broker.abandon().await;
    let broker = file.open().await;
    let delivery = next(&queue(&broker, "orders").await).await;
    assert_eq!(delivery.id, receipts[0].id);
    assert!(delivery.body == sent.body);
    assert!(delivery.attributes.iter_spelled().eq(sent.attributes.iter_spelled()));
    assert_eq!((delivery.key, delivery.hops, delivery.deliveries), (sent.key, 4, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_file_and_its_log_has_every_confirmed_message() {
    let file = File::new();
    let copy = File::new();
    let broker = file.open().await;
    for number in 0..50 {
        publish(&broker, "orders", &format!("message {number}")).await;
    }
    for suffix in ["", "-wal"] {
        let name = |path: std::path::PathBuf| format!("{}{suffix}", path.display());
        std::fs::copy(name(file.path()), name(copy.path())).unwrap();
    }
    let copied = copy.open().await;
    assert_eq!(stats(&copied, "orders").await.ready, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_flight_at_a_crash_is_ready_at_once_with_a_failure_and_its_deliveries() {
    let file = File::new();
    let broker = file.open().await;
    let orders = queue(&broker, "orders").await;
    publish(&broker, "orders", "a").await;
    let held = begun(&orders).await;
    broker.abandon().await;
    let broker = file.open().await;
    let again = next(&queue(&broker, "orders").await).await;
    assert_eq!((again.id.as_str(), again.deliveries, again.failures), ("a", 2, 1));
    assert!(held.lease.ack(Vec::new()).await.is_err(), "a lease ends with its process");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_ends_the_process_three_times_becomes_a_dead_letter() {
    let file = File::new();
    let mut broker = file.open().await;
    publish(&broker, "orders", "a").await;
    for _ in 0..3 {
        let _held = begun(&queue(&broker, "orders").await).await;
        broker.abandon().await;
        broker = file.open().await;
    }
    let letters = broker.dead_letters().unwrap().show(&DeadLetterFilter::default(), 0, 10).await.unwrap();
    assert_eq!((letters[0].id.as_str(), letters[0].evidence.reason, letters[0].deliveries), ("a", Reason::Crash, 3));
    let reasons: Vec<_> = letters[0].attempts.iter().map(|attempt| (attempt.number, attempt.reason)).collect();
    assert_eq!(reasons, [(1, Reason::Crash), (2, Reason::Crash), (3, Reason::Crash)]);
    assert_eq!(stats(&broker, "orders").await.ready, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_in_flight_at_a_crash_is_delivered_alone() {
    let file = File::new();
    let broker = file.open().await;
    publish(&broker, "orders", "suspect 1").await;
    publish(&broker, "invoices", "suspect 2").await;
    let _held = (begun(&queue(&broker, "orders").await).await, begun(&queue(&broker, "invoices").await).await);
    broker.abandon().await;
    let broker = file.open().await;
    let orders = queue(&broker, "orders").await;
    let invoices = queue(&broker, "invoices").await;
    publish(&broker, "orders", "innocent 1").await;
    publish(&broker, "invoices", "innocent 2").await;
    let alone = in_time(orders.pull(10)).await.unwrap();
    assert_eq!(alone.iter().map(|delivery| delivery.id.as_str()).collect::<Vec<_>>(), ["suspect 1"]);
    // While one suspect is in flight, no other is, in any queue. Other messages go on elsewhere.
    let elsewhere = in_time(invoices.pull(10)).await.unwrap();
    assert_eq!(elsewhere.iter().map(|delivery| delivery.id.as_str()).collect::<Vec<_>>(), ["innocent 2"]);
    for delivery in alone.into_iter().chain(elsewhere) {
        delivery.lease.ack(Vec::new()).await.unwrap();
    }
    assert_eq!(next(&invoices).await.id, "suspect 2");
    assert_eq!(next(&orders).await.id, "innocent 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_gives_leases_back_and_counts_no_crash() {
    let file = File::new();
    let broker = file.open().await;
    publish(&broker, "orders", "a").await;
    let _held = next(&queue(&broker, "orders").await).await;
    broker.close().await.unwrap();
    let broker = file.open().await;
    let again = next(&queue(&broker, "orders").await).await;
    assert_eq!((again.deliveries, again.failures), (2, 0));
    assert_eq!(file.number("SELECT max(crashes) FROM state"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn acks_failures_and_delays_survive_a_restart() {
    let file = File::new();
    let broker = file.open().await;
    let orders = queue(&broker, "orders").await;
    publish(&broker, "orders", "acked").await;
    next(&orders).await.lease.ack(Vec::new()).await.unwrap();
    publish(&broker, "orders", "nacked").await;
    let delivery = next(&orders).await;
    let attempt = Some(failed(&delivery));
    delivery.lease.nack(Nack { delay: Duration::from_secs(60), attempt }).await.unwrap();
    broker.close().await.unwrap();
    let broker = file.open().await;
    let orders = queue(&broker, "orders").await;
    let before = stats(&broker, "orders").await;
    assert_eq!((before.ready, before.delayed, before.acked), (0, 1, 1));
    file.clock.advance(Duration::from_secs(60));
    let again = next(&orders).await;
    assert_eq!((again.id.as_str(), again.deliveries, again.failures), ("nacked", 2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_remembered_and_forgotten_across_restarts() {
    let file = File::new();
    let broker = file.open().await;
    publish(&broker, "orders", "a").await;
    broker.close().await.unwrap();
    let broker = file.open().await;
    assert!(broker.publish(vec![publication("orders", "a")]).await.unwrap()[0].duplicate);
    file.clock.advance(Duration::from_secs(600));
    assert!(!broker.publish(vec![publication("orders", "a")]).await.unwrap()[0].duplicate);
    assert_eq!(file.number("SELECT count(*) FROM ids"), 1, "old ids are deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_while_nothing_is_served_goes_to_the_queues_of_its_topic() {
    let file = File::new();
    let broker = file.open().await;
    let spec = QueueSpec { topics: vec!["orders".into()], ..QueueSpec::new("billing") };
    broker.queue(spec).await.unwrap();
    broker.close().await.unwrap();
    let broker = file.open().await;
    publish(&broker, "orders", "a").await;
    assert_eq!((stats(&broker, "billing").await.ready, stats(&broker, "orders").await.ready), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wall_clock_that_was_set_back_between_two_runs_delays_nothing() {
    let file = File::new();
    let broker = file.open().await;
    file.clock.advance(Duration::from_secs(3600));
    publish(&broker, "orders", "a").await;
    let ahead = file.clock.now();
    broker.close().await.unwrap();
    // The clock of this run starts an hour behind the time in the file.
    let broker = SqliteBroker::open(&file.path(), SqliteOptions::default()).await.unwrap();
    let orders = queue(&broker, "orders").await;
    assert_eq!(next(&orders).await.id, "a");
    publish(&broker, "orders", "b").await;
    assert!(next(&orders).await.published_at >= ahead);
    assert!(ahead > Timestamp::default());
}

/// Set for the child process of the test below: the file to publish to.
const CHILD: &str = "WASMPOST_TEST_PUBLISH_UNTIL_KILLED";

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_nothing_that_was_confirmed() {
    if let Some(path) = std::env::var_os(CHILD) {
        return publish_until_killed(path.as_ref()).await;
    }
    let file = File::new();
    let this = std::env::current_exe().unwrap();
    let mut child = Command::new(this)
        .args(["--exact", "a_killed_process_loses_nothing_that_was_confirmed", "--nocapture"])
        .env(CHILD, file.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut confirmed: Vec<String> = Vec::new();
    for line in lines {
        confirmed.extend(line.unwrap().strip_prefix("confirmed ").map(str::to_owned));
        if confirmed.len() == 200 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(confirmed.len() >= 200, "{} confirmed", confirmed.len());
    let broker = SqliteBroker::open(&file.path(), SqliteOptions::default()).await.unwrap();
    let stored = in_time(queue(&broker, "orders").await.pull(100_000)).await.unwrap();
    let stored: std::collections::BTreeSet<_> = stored.into_iter().map(|delivery| delivery.id.clone()).collect();
    assert!(confirmed.iter().all(|id| stored.contains(id)));
}

async fn publish_until_killed(path: &std::path::Path) {
    let broker = SqliteBroker::open(path, SqliteOptions::default()).await.unwrap();
    for number in 0.. {
        publish(&broker, "orders", &number.to_string()).await;
        let mut out = std::io::stdout().lock();
        // The test reads this until it has read enough and kills the process.
        if writeln!(out, "\nconfirmed {number}").and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}
