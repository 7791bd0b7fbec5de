//! What survives the end of the process, and what it costs a message.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // Broken promises fail a test by panicking.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{File, begun, failed, in_time, next, publication, publish, queue, stats};
use wasmpost_broker_sqlite::{Durability, SqliteBroker, SqliteOptions};
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
    let (file, copy) = (File::new(), File::new());
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
    let (orders, invoices) = (queue(&broker, "orders").await, queue(&broker, "invoices").await);
    publish(&broker, "orders", "innocent 1").await;
    publish(&broker, "invoices", "innocent 2").await;
    let alone = in_time(orders.pull(10)).await.unwrap();
    assert_eq!(alone.iter().map(|delivery| delivery.id.as_str()).collect::<Vec<_>>(), ["suspect 1"]);
    // While one suspect is in flight no other is, in no queue; what is no suspect goes on elsewhere.
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
    // The clock of this run starts an hour behind what the file knows.
    let broker = SqliteBroker::open(&file.path(), SqliteOptions::default()).await.unwrap();
    let orders = queue(&broker, "orders").await;
    assert_eq!(next(&orders).await.id, "a");
    publish(&broker, "orders", "b").await;
    assert!(next(&orders).await.published_at >= ahead);
    assert!(ahead > Timestamp::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_no_receiver_had_at_a_crash_is_as_it_was() {
    let file = File::new();
    let broker = file.open().await;
    let orders = queue(&broker, "orders").await;
    for id in ["pulled", "read ahead"] {
        publish(&broker, "orders", id).await;
    }
    let _held = next(&orders).await;
    broker.abandon().await;
    let broker = file.open().await;
    let both = in_time(queue(&broker, "orders").await.pull(10)).await.unwrap();
    let told: Vec<_> = both.iter().map(|again| (again.id.as_str(), again.deliveries, again.failures)).collect();
    assert_eq!(told, [("pulled", 1, 0), ("read ahead", 1, 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_that_was_answered_survives_a_crash_before_it_is_committed() {
    let file = File::new();
    // Nothing is committed for it before the crash.
    let options = SqliteOptions { ack_flush: Duration::from_secs(1), ..file.options() };
    let broker = SqliteBroker::open(&file.path(), options).await.unwrap();
    let orders = queue(&broker, "orders").await;
    for id in ["acked", "in flight"] {
        publish(&broker, "orders", id).await;
    }
    let (acked, _held) = (begun(&orders).await, begun(&orders).await);
    let commits = broker.commits();
    acked.lease.ack(Vec::new()).await.unwrap();
    broker.abandon().await;
    assert_eq!(broker.commits(), commits, "the ack was gathered and not committed");
    let broker = file.open().await;
    let again = next(&queue(&broker, "orders").await).await;
    assert_eq!((again.id.as_str(), again.deliveries, again.failures), ("in flight", 2, 1));
    assert_eq!(stats(&broker, "orders").await.acked, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn acks_are_gathered_and_stored_in_time_though_nothing_else_is() {
    let file = File::new();
    let broker = file.open().await;
    let orders = queue(&broker, "orders").await;
    broker.publish((0..200).map(|number| publication("orders", &number.to_string())).collect()).await.unwrap();
    let all = in_time(orders.pull(200)).await.unwrap();
    let commits = broker.commits();
    for delivery in all {
        delivery.lease.ack(Vec::new()).await.unwrap();
    }
    in_time(orders.drained()).await.unwrap();
    assert!(broker.commits() - commits < 50, "{} commits for 200 acks", broker.commits() - commits);
}

#[tokio::test(flavor = "multi_thread")]
async fn acks_that_are_stored_together_leave_everything_else() {
    let file = File::new();
    let broker = file.open().await;
    let orders = queue(&broker, "orders").await;
    broker.queue(QueueSpec { topics: vec!["both".into()], ..QueueSpec::new("orders") }).await.unwrap();
    broker.queue(QueueSpec { topics: vec!["both".into()], ..QueueSpec::new("copies") }).await.unwrap();
    // Some have a key, some another queue as well, and each lies among others.
    let sent = (0..100).map(|number| {
        let topic = if number % 5 == 0 { "both" } else { "orders" };
        let key = (number % 7 == 0).then(|| number.to_string());
        Publication { key, ..publication(topic, &number.to_string()) }
    });
    broker.publish(sent.collect()).await.unwrap();
    let (mut kept, mut left) = (Vec::new(), 100);
    while left > 0 {
        for delivery in in_time(orders.pull(100)).await.unwrap() {
            left -= 1;
            if delivery.id.ends_with('3') {
                kept.push(delivery);
            } else {
                delivery.lease.ack(Vec::new()).await.unwrap();
            }
        }
    }
    let counted = stats(&broker, "orders").await;
    assert_eq!((counted.leased, counted.acked, counted.ready), (10, 90, 0));
    assert_eq!(stats(&broker, "copies").await.ready, 20);
    assert_eq!(file.number("SELECT count(*) FROM messages"), 30);
    assert_eq!(file.number("SELECT count(*) FROM state"), 30);
    for delivery in kept {
        delivery.lease.nack(Nack::give_back()).await.unwrap();
    }
    for _ in 0..10 {
        next(&orders).await.lease.ack(Vec::new()).await.unwrap();
    }
    in_time(orders.drained()).await.unwrap();
    assert_eq!(file.number("SELECT count(*) FROM messages"), 20);
    assert_eq!(file.number("SELECT count(*) FROM history"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_waits_for_the_disk_where_that_is_asked_for() {
    let file = File::new();
    let options = SqliteOptions { durability: Durability::Full, ..file.options() };
    let broker = SqliteBroker::open(&file.path(), options).await.unwrap();
    let orders = queue(&broker, "orders").await;
    publish(&broker, "orders", "a").await;
    let commits = broker.commits();
    next(&orders).await.lease.ack(Vec::new()).await.unwrap();
    assert_eq!(broker.commits(), commits + 1, "it is committed when it is answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flight_file_that_cannot_be_used_does_no_harm() {
    let damage: [fn(&Path); 5] = [
        |path| std::fs::remove_file(path).unwrap(),
        |path| std::fs::write(path, "").unwrap(),
        |path| std::fs::write(path, "dear diary, ".repeat(1000)).unwrap(),
        |path| {
            let bytes = std::fs::read(path).unwrap();
            std::fs::write(path, &bytes[..bytes.len() - 100]).unwrap();
        },
        |path| {
            let mut bytes = std::fs::read(path).unwrap();
            bytes[64..256].fill(0xa5);
            std::fs::write(path, bytes).unwrap();
        },
    ];
    for (number, damage) in damage.into_iter().enumerate() {
        let file = File::new();
        let broker = file.open().await;
        let orders = queue(&broker, "orders").await;
        for id in ["acked", "in flight", "waiting"] {
            publish(&broker, "orders", id).await;
        }
        begun(&orders).await.lease.ack(Vec::new()).await.unwrap();
        stats(&broker, "orders").await;
        let _held = begun(&orders).await;
        broker.abandon().await;
        damage(&flight_file(&file));
        let broker = file.open().await;
        let orders = queue(&broker, "orders").await;
        for id in ["in flight", "waiting"] {
            let delivery = begun(&orders).await;
            assert_eq!(delivery.id, id, "damage {number}");
            delivery.lease.ack(Vec::new()).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flight_file_of_another_queue_file_or_of_an_older_run_does_no_harm() {
    let (one, other) = (File::new(), File::new());
    for file in [&one, &other] {
        let broker = file.open().await;
        let orders = queue(&broker, "orders").await;
        publish(&broker, "orders", "a").await;
        let _held = begun(&orders).await;
        broker.abandon().await;
    }
    let older = std::fs::read(flight_file(&one)).unwrap();
    std::fs::copy(flight_file(&one), flight_file(&other)).unwrap();
    let broker = other.open().await;
    assert_eq!(next(&queue(&broker, "orders").await).await.deliveries, 1, "one of another file");
    one.open().await.abandon().await;
    std::fs::write(flight_file(&one), older).unwrap();
    let broker = one.open().await;
    let again = next(&queue(&broker, "orders").await).await;
    assert_eq!((again.deliveries, again.failures), (2, 1), "counted once, by the run after it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_closed_leaves_no_flight_file() {
    let file = File::new();
    let broker = file.open().await;
    assert!(flight_file(&file).exists());
    broker.close().await.unwrap();
    assert!(!flight_file(&file).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_version_had_leased_counts_as_interrupted() {
    let file = File::new();
    let broker = file.open().await;
    queue(&broker, "orders").await;
    publish(&broker, "orders", "a").await;
    broker.close().await.unwrap();
    file.sql("UPDATE state SET status = 2, deliveries = 1");
    let broker = file.open().await;
    let again = next(&queue(&broker, "orders").await).await;
    assert_eq!((again.deliveries, again.failures), (2, 1));
}

fn flight_file(file: &File) -> PathBuf {
    format!("{}-flight", file.path().display()).into()
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
