//! A full disk, damaged rows, callers that go away, and groups of operations.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // Broken promises fail a test by panicking.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{File, failed, in_time, next, publication, publish, queue, stats};
use wasmpost_broker_sqlite::{FileReport, SqliteBroker, SqliteOptions, check_file};
use wasmpost_delivery::{Broker, BrokerErrorKind, DeadLetterFilter, Evidence, Nack};
use wasmpost_msg::{Publication, Reason};

fn large(topic: &str) -> Publication {
    Publication { id: None, body: vec![1; 64 << 10].into(), ..publication(topic, "large") }
}

async fn filled(file: &File) -> Arc<SqliteBroker> {
    let options = SqliteOptions { bytes_max: Some(2 << 20), ..file.options() };
    let broker = SqliteBroker::open(&file.path(), options).await.unwrap();
    for _ in 0..1000 {
        if let Err(error) = broker.publish(vec![large("orders")]).await {
            assert_eq!(error.kind(), BrokerErrorKind::Full, "{error}");
            return broker;
        }
    }
    panic!("file takes more than it may");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_refuses_publications_and_still_delivers_and_acks() {
    let file = File::new();
    let broker = filled(&file).await;
    let orders = queue(&broker, "orders").await;
    let stored = stats(&broker, "orders").await.ready;
    assert!(stored > 10, "{stored} messages fit");
    let delivery = next(&orders).await;
    delivery.lease.nack(Nack::give_back()).await.unwrap();
    for _ in 0..5 {
        next(&orders).await.lease.ack(Vec::new()).await.unwrap();
    }
    broker.publish(vec![large("orders")]).await.expect("acks make room");
    assert_eq!(stats(&broker, "orders").await.ready, stored - 4);
    assert_eq!(file.number("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_publication_that_does_not_fit_fails_alone() {
    let file = File::new();
    let broker = filled(&file).await;
    let orders = queue(&broker, "orders").await;
    for _ in 0..3 {
        next(&orders).await.lease.ack(Vec::new()).await.unwrap();
    }
    let huge = Publication { body: vec![1; 4 << 20].into(), ..large("orders") };
    let (refused, taken) = tokio::join!(broker.publish(vec![huge]), broker.publish(vec![publication("orders", "s")]));
    assert_eq!(refused.unwrap_err().kind(), BrokerErrorKind::Full);
    taken.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_that_does_not_fit_leaves_its_source_leased_and_nothing_published() {
    let file = File::new();
    let broker = filled(&file).await;
    let orders = queue(&broker, "orders").await;
    let delivery = next(&orders).await;
    let id = delivery.id.clone();
    let outbox =
        vec![publication("invoices", "small"), Publication { body: vec![1; 4 << 20].into(), ..large("invoices") }];
    let error = delivery.lease.ack(outbox).await.unwrap_err();
    assert_eq!(error.kind(), BrokerErrorKind::Full);
    assert_eq!((stats(&broker, "invoices").await.ready, stats(&broker, "orders").await.leased), (0, 1));
    file.clock.advance(orders.lease());
    // The source is delivered again when its lease has lapsed, after messages that were due before.
    let mut others = Vec::new();
    loop {
        let delivery = next(&orders).await;
        if delivery.id == id {
            break;
        }
        others.push(delivery);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_message_is_dead_lettered_and_its_neighbours_are_delivered() {
    let file = File::new();
    let broker = file.open().await;
    for body in ["flipped", "torn", "whole"] {
        publish(&broker, "orders", body).await;
    }
    broker.close().await.unwrap();
    file.sql("UPDATE messages SET body = CAST('flIpped' AS BLOB) WHERE id = 'flipped'");
    file.sql("UPDATE messages SET attributes = '{\"Tag\":[' WHERE id = 'torn'");
    let broker = file.open().await;
    let orders = queue(&broker, "orders").await;
    assert_eq!(next(&orders).await.id, "whole", "one pull comes past what is damaged");
    let letters = broker.dead_letters().unwrap().show(&DeadLetterFilter::default(), 0, 10).await.unwrap();
    let told: Vec<_> = letters.iter().map(|letter| (letter.id.as_str(), letter.evidence.reason)).collect();
    assert_eq!(told, [("flipped", Reason::HostFault), ("torn", Reason::HostFault)]);
}

/// The log of a file, and a copy that is kept of it where it is damaged.
fn log_of(file: &File) -> [std::path::PathBuf; 2] {
    ["-wal", "-wal.damaged"].map(|suffix| format!("{}{suffix}", file.path().display()).into())
}

/// A file whose log has twenty commits, as a killed process leaves it.
async fn with_log() -> File {
    let file = File::new();
    let left = File::new();
    let broker = file.open().await;
    for number in 0..20 {
        publish(&broker, "orders", &number.to_string()).await;
    }
    std::fs::copy(file.path(), left.path()).unwrap();
    std::fs::copy(&log_of(&file)[0], &log_of(&left)[0]).unwrap();
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_damaged_is_kept_and_what_was_written_before_survives() {
    let file = with_log().await;
    let [log, kept] = log_of(&file);
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&log, &bytes).unwrap();
    let broker = file.open().await;
    let survivors = in_time(queue(&broker, "orders").await.pull(100)).await.unwrap();
    let ids: Vec<_> = survivors.iter().map(|delivery| delivery.id.clone()).collect();
    let expected: Vec<_> = (0..ids.len()).map(|number| number.to_string()).collect();
    assert!((5..20).contains(&ids.len()) && ids == expected, "the first ones are there: {ids:?}");
    assert!(std::fs::read(&kept).unwrap() == bytes, "the log is kept as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_the_whole_file_finds_what_its_log_and_rows_hide() {
    let file = with_log().await;
    let checked = async |file: &File| check_file(&file.path()).await.unwrap();
    assert_eq!(checked(&file).await, FileReport { faults: Vec::new(), messages: 20 });
    let log = &log_of(&file)[0];
    let mut bytes = std::fs::read(log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(log, &bytes).unwrap();
    let report = checked(&file).await;
    assert!(report.faults[0].contains("log is damaged") && report.messages < 20, "{report:?}");

    let file = File::new();
    let broker = file.open().await;
    for body in ["flipped", "gone", "whole"] {
        publish(&broker, "orders", body).await;
    }
    broker.close().await.unwrap();
    file.sql("UPDATE messages SET body = CAST('flIpped' AS BLOB) WHERE id = 'flipped'");
    file.sql("DELETE FROM messages WHERE id = 'gone'");
    let faults = checked(&file).await.faults;
    assert_eq!(faults, ["places in queues without a message: 1", "message number 1 does not match its checksum"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_ends_within_a_commit_is_no_damage() {
    for cut in [1, 4096, 5000] {
        let file = with_log().await;
        let [log, kept] = log_of(&file);
        let bytes = std::fs::read(&log).unwrap();
        std::fs::write(&log, &bytes[..bytes.len() - cut]).unwrap();
        let broker = file.open().await;
        assert_eq!(stats(&broker, "orders").await.ready, 19, "all but the last one are there");
        assert!(!kept.exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_whose_record_is_damaged_is_listed_among_its_neighbours() {
    let file = File::new();
    let broker = file.open().await;
    let orders = queue(&broker, "orders").await;
    for body in ["damaged", "whole"] {
        publish(&broker, "orders", body).await;
        next(&orders).await.lease.reject(Evidence::by_host(Reason::Rejected, "no")).await.unwrap();
    }
    broker.close().await.unwrap();
    file.sql("UPDATE dead SET dead_at = x'ff', deliveries = 'x', evidence = x'ff', attempts = 7 WHERE id = 'damaged'");
    let broker = file.open().await;
    let letters = broker.dead_letters().unwrap();
    let found = letters.show(&DeadLetterFilter::default(), 0, 10).await.unwrap();
    let told: Vec<_> = found.iter().map(|letter| (&*letter.id, letter.evidence.reason, &letter.body[..])).collect();
    assert_eq!(told, [("damaged", Reason::Rejected, &b"damaged"[..]), ("whole", Reason::Rejected, &b"whole"[..])]);
    assert_eq!(letters.redrive(&DeadLetterFilter::default()).await.unwrap(), 2);
    assert_eq!(stats(&broker, "orders").await.ready, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_nobody_takes_are_given_back_uncounted() {
    let file = File::new();
    let broker = file.open().await;
    let orders = queue(&broker, "orders").await;
    for round in 0..50 {
        let pulling = tokio::spawn({
            let orders = orders.clone();
            async move { drop(orders.pull(1).await) }
        });
        publish(&broker, "orders", &format!("message {round}")).await;
        pulling.abort();
        drop(pulling.await);
        let delivery = next(&orders).await;
        assert_eq!((delivery.id.as_str(), delivery.failures), (format!("message {round}").as_str(), 0));
        delivery.lease.ack(Vec::new()).await.unwrap();
    }
    in_time(orders.drained()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_publishers_share_commits() {
    let file = File::new();
    let broker = file.open().await;
    let before = broker.commits();
    let publishers: Vec<_> = (0..64)
        .map(|publisher| {
            let broker = broker.clone();
            tokio::spawn(async move {
                for number in 0..20 {
                    publish(&broker, "orders", &format!("{publisher} {number}")).await;
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let commits = broker.commits() - before;
    assert!(commits < 64 * 20 / 2, "{commits} commits");
    assert_eq!(stats(&broker, "orders").await.ready, 64 * 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_two_queues_stays_until_both_and_its_dead_letter_are_done() {
    let file = File::new();
    let broker = file.open().await;
    let mut queues = Vec::new();
    for name in ["billing", "shipping"] {
        let topics = vec!["orders".to_owned()];
        let spec = wasmpost_delivery::QueueSpec { topics, ..wasmpost_delivery::QueueSpec::new(name) };
        queues.push(broker.queue(spec).await.unwrap());
    }
    publish(&broker, "orders", "a").await;
    let messages = || file.number("SELECT count(*) FROM messages");
    assert_eq!(messages(), 1, "the body is stored once");
    next(&queues[0]).await.lease.reject(Evidence::by_host(Reason::Rejected, "no")).await.unwrap();
    let delivery = next(&queues[1]).await;
    let attempt = Some(failed(&delivery));
    delivery.lease.nack(Nack { delay: Duration::ZERO, attempt }).await.unwrap();
    next(&queues[1]).await.lease.ack(vec![publication("elsewhere", "b")]).await.unwrap();
    assert_eq!(messages(), 2);
    let all = DeadLetterFilter::default();
    assert_eq!(broker.dead_letters().unwrap().show(&all, 0, 9).await.unwrap()[0].body, "a");
    assert_eq!(broker.dead_letters().unwrap().purge(&all).await.unwrap(), 1);
    assert_eq!((messages(), file.number("SELECT count(*) FROM history")), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_with_one_key_stay_one_at_a_time_when_their_queues_become_one() {
    let file = File::new();
    let broker = file.open().await;
    let keyed = |topic: &str, id: &str| Publication { key: Some("k".into()), ..publication(topic, id) };
    broker.publish(vec![keyed("orders", "a")]).await.unwrap();
    let billing = queue(&broker, "billing").await;
    broker.publish(vec![keyed("billing", "b")]).await.unwrap();
    let held = next(&billing).await;
    let topics = vec!["orders".to_owned()];
    let spec = wasmpost_delivery::QueueSpec { topics, ..wasmpost_delivery::QueueSpec::new("billing") };
    let billing = broker.queue(spec).await.unwrap();
    broker.publish(vec![publication("billing", "other")]).await.unwrap();
    assert_eq!(next(&billing).await.id, "other", "another message with the key is in flight");
    held.lease.ack(Vec::new()).await.unwrap();
    assert_eq!(next(&billing).await.id, "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_expires_behind_its_key_makes_way_for_nobody() {
    let file = File::new();
    let broker = file.open().await;
    let orders = queue(&broker, "orders").await;
    let keyed = |id: &str| Publication { key: Some("k".into()), ..publication("orders", id) };
    broker.publish(vec![keyed("a"), keyed("b")]).await.unwrap();
    next(&orders).await.lease.reject(Evidence::by_host(Reason::Rejected, "no")).await.unwrap();
    let held = next(&orders).await;
    broker.publish(vec![Publication { ttl: Some(Duration::from_secs(1)), ..keyed("c") }]).await.unwrap();
    assert_eq!(broker.dead_letters().unwrap().redrive(&DeadLetterFilter::default()).await.unwrap(), 1);
    file.clock.advance(Duration::from_secs(2));
    publish(&broker, "orders", "other").await;
    assert_eq!(stats(&broker, "orders").await.expired, 1);
    let told: Vec<_> = in_time(orders.pull(10)).await.unwrap().into_iter().map(|delivery| delivery.id).collect();
    assert_eq!(told, ["other"], "another message with the key is in flight");
    held.lease.ack(Vec::new()).await.unwrap();
    while next(&orders).await.id != "a" {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_goes_on_when_queues_become_one_while_its_first_message_is_back_from_the_dead_letters() {
    let file = File::new();
    let broker = file.open().await;
    let orders = queue(&broker, "orders").await;
    let keyed = |id: &str| Publication { key: Some("k".into()), ..publication("orders", id) };
    broker.publish(vec![keyed("a"), keyed("b")]).await.unwrap();
    next(&orders).await.lease.reject(Evidence::by_host(Reason::Rejected, "no")).await.unwrap();
    assert_eq!(broker.dead_letters().unwrap().redrive(&DeadLetterFilter::default()).await.unwrap(), 1);
    publish(&broker, "more", "c").await;
    let topics = vec!["more".to_owned()];
    let spec = wasmpost_delivery::QueueSpec { topics, ..wasmpost_delivery::QueueSpec::new("orders") };
    let orders = broker.queue(spec).await.unwrap();
    let mut told = Vec::new();
    for _ in 0..3 {
        let delivery = next(&orders).await;
        told.push(delivery.id);
        delivery.lease.ack(Vec::new()).await.unwrap();
    }
    told.sort_unstable();
    assert_eq!(told, ["a", "b", "c"]);
}
