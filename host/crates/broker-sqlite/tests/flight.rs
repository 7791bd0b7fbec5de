//! Leases that are only in memory: the notes of the flight file after a crash, and acks that are gathered.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // Broken promises fail a test by panicking.

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{File, begun, in_time, next, publication, publish, queue, stats};
use wasmpost_broker_sqlite::{Durability, SqliteBroker, SqliteOptions};
use wasmpost_delivery::{Broker, Nack, QueueSpec};
use wasmpost_msg::Publication;

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
    // No commit follows before the crash.
    let options = SqliteOptions { ack_flush: Duration::from_secs(1), ..file.options() };
    let broker = SqliteBroker::open(&file.path(), options).await.unwrap();
    let orders = queue(&broker, "orders").await;
    for id in ["acked", "in flight"] {
        publish(&broker, "orders", id).await;
    }
    let acked = begun(&orders).await;
    let _held = begun(&orders).await;
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
    let mut kept = Vec::new();
    let mut left = 100;
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
    let one = File::new();
    let other = File::new();
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

#[tokio::test(flavor = "multi_thread")]
async fn acks_that_another_program_holds_up_are_kept_and_stored_when_it_is_done() {
    let file = File::new();
    let broker = file.open().await;
    let orders = queue(&broker, "orders").await;
    publish(&broker, "orders", "a").await;
    let delivery = begun(&orders).await;
    let other = rusqlite::Connection::open(file.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    delivery.lease.ack(Vec::new()).await.unwrap();
    in_time(broker.publish(vec![publication("orders", "b")])).await.unwrap_err();
    other.execute_batch("ROLLBACK").unwrap();
    file.clock.advance(orders.lease() * 2);
    in_time(orders.drained()).await.unwrap();
    assert_eq!(stats(&broker, "orders").await.acked, 1);
}
