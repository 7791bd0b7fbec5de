//! The file itself: whose it is, who may open it, and what another program sees in it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // Broken promises fail a test by panicking.

mod common;

use common::{File, next, publication, publish, queue};
use wasmpost_broker_sqlite::SqliteBroker;
use wasmpost_delivery::{Broker, BrokerErrorKind};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_opening_is_refused_until_the_first_is_closed() {
    let file = File::new();
    let broker = file.open().await;
    let error = SqliteBroker::open(&file.path(), file.options()).await.err().unwrap();
    assert_eq!(error.kind(), BrokerErrorKind::InUse);
    assert!(error.to_string().contains("queue.db"), "{error}");
    broker.close().await.unwrap();
    drop(file.open().await);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn another_way_to_the_same_file_is_refused_as_well() {
    let file = File::new();
    let _broker = file.open().await;
    let link = file.path().with_file_name("link.db");
    std::os::unix::fs::symlink(file.path(), &link).unwrap();
    let error = SqliteBroker::open(&link, file.options()).await.err().unwrap();
    assert_eq!(error.kind(), BrokerErrorKind::InUse);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_file_can_be_read_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let file = File::new();
    let broker = file.open().await;
    publish(&broker, "orders", "a").await;
    for entry in std::fs::read_dir(file.path().parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_newer_version_is_refused() {
    let file = File::new();
    file.open().await.close().await.unwrap();
    file.sql("PRAGMA user_version = 2");
    let error = SqliteBroker::open(&file.path(), file.options()).await.err().unwrap();
    assert_eq!(error.kind(), BrokerErrorKind::Invalid);
    assert!(error.to_string().contains("version 2") && error.to_string().contains("newer"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_another_program_is_refused_and_stays_as_it_is() {
    let file = File::new();
    file.sql("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)");
    let before = std::fs::read(file.path()).unwrap();
    let error = SqliteBroker::open(&file.path(), file.options()).await.err().unwrap();
    assert_eq!(error.kind(), BrokerErrorKind::Invalid);
    assert!(error.to_string().contains("another program"), "{error}");
    assert!(std::fs::read(file.path()).unwrap() == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_database_is_refused_and_stays_as_it_is() {
    let file = File::new();
    let text = "dear diary, ".repeat(1000);
    std::fs::write(file.path(), &text).unwrap();
    let error = SqliteBroker::open(&file.path(), file.options()).await.err().unwrap();
    assert_eq!(error.kind(), BrokerErrorKind::Invalid);
    assert!(error.to_string().contains("not a queue file"), "{error}");
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_missing_is_named() {
    let file = File::new();
    let path = file.path().join("missing").join("queue.db");
    let error = SqliteBroker::open(&path, file.options()).await.err().unwrap();
    assert_eq!(error.kind(), BrokerErrorKind::Invalid);
    assert!(error.to_string().contains("missing"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_program_can_read_the_file_while_it_is_open() {
    let file = File::new();
    let broker = file.open().await;
    publish(&broker, "orders", "a").await;
    assert_eq!(file.number("SELECT count(*) FROM messages JOIN state ON message = number WHERE topic = 'orders'"), 1);
    assert_eq!(file.number("SELECT count(*) FROM dead_letters"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_shrinks_when_its_messages_have_ended() {
    let file = File::new();
    let broker = file.open().await;
    let orders = queue(&broker, "orders").await;
    let large = "x".repeat(1 << 20);
    for number in 0..8 {
        let mut sent = publication("orders", &number.to_string());
        sent.body = large.clone().into();
        broker.publish(vec![sent]).await.unwrap();
    }
    broker.close().await.unwrap();
    let full = std::fs::metadata(file.path()).unwrap().len();
    drop(orders);
    let broker = file.open().await;
    let orders = queue(&broker, "orders").await;
    for _ in 0..8 {
        next(&orders).await.lease.ack(Vec::new()).await.unwrap();
    }
    broker.close().await.unwrap();
    let empty = std::fs::metadata(file.path()).unwrap().len();
    assert!(full > 8 << 20 && empty < 1 << 20, "{full} bytes, then {empty}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_does_not_grow_without_end_under_constant_load() {
    let file = File::new();
    let broker = file.open().await;
    let publishers: Vec<_> = (0..16)
        .map(|_| {
            let broker = broker.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    let mut sent = publication("orders", "x");
                    (sent.id, sent.body) = (None, vec![7; 128 << 10].into());
                    broker.publish(vec![sent]).await.unwrap();
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let log = std::fs::metadata(format!("{}-wal", file.path().display())).unwrap().len();
    assert!(log < 150 << 20, "log of {log} bytes for 200 MiB");
}
