//! The file itself: its locks, its permissions, and its content as another program reads it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // Broken promises fail a test by panicking.

mod common;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use common::{File, in_time, next, publication, publish, queue, stats};
use wasmpost_broker_sqlite::{SqliteBroker, SqliteOptions};
use wasmpost_delivery::{Broker, BrokerErrorKind, QueueSpec};

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
    file.sql("PRAGMA user_version = 3");
    let error = SqliteBroker::open(&file.path(), file.options()).await.err().unwrap();
    assert_eq!(error.kind(), BrokerErrorKind::Invalid);
    assert!(error.to_string().contains("version 3") && error.to_string().contains("newer"), "{error}");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_a_file_that_opening_makes_leads_to_the_same_lock() {
    let file = File::new();
    let link = file.path().with_file_name("link.db");
    std::os::unix::fs::symlink("queue.db", &link).unwrap();
    let broker = SqliteBroker::open(&link, file.options()).await.unwrap();
    assert_eq!(broker.path(), file.path().canonicalize().unwrap());
    let error = SqliteBroker::open(&file.path(), file.options()).await.err().unwrap();
    assert_eq!(error.kind(), BrokerErrorKind::InUse);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_name_of_a_file_that_is_open_meets_its_lock_and_one_that_is_not_is_refused() {
    let file = File::new();
    let broker = file.open().await;
    let other = file.path().with_file_name("other.db");
    std::fs::hard_link(file.path(), &other).unwrap();
    let open = || SqliteBroker::open(&other, file.options());
    assert_eq!(open().await.err().unwrap().kind(), BrokerErrorKind::InUse);
    publish(&broker, "orders", "a").await;
    broker.close().await.unwrap();
    let error = open().await.err().unwrap();
    assert!(error.kind() == BrokerErrorKind::Invalid && error.to_string().contains("2 names"), "{error}");
    std::fs::remove_file(file.path()).unwrap();
    assert_eq!(stats(&open().await.unwrap(), "orders").await.ready, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_file_of_an_older_version_does_no_harm_and_removing_it_opens_no_second_way() {
    let file = File::new();
    let lock = file.path().with_file_name("queue.db.lock");
    std::fs::write(&lock, "").unwrap();
    let _broker = file.open().await;
    std::fs::remove_file(lock).unwrap();
    let error = SqliteBroker::open(&file.path(), file.options()).await.err().unwrap();
    assert_eq!(error.kind(), BrokerErrorKind::InUse);
}

/// Waits until a process waits for the lock of a file.
async fn wait_for_waiting(file: &std::fs::File) {
    let of_file = format!(":{} ", file.metadata().unwrap().ino());
    let waits = |line: &str| line.contains("-> FLOCK") && line.contains(&of_file);
    let waiting = async {
        while !std::fs::read_to_string("/proc/locks").unwrap().lines().any(waits) {
            tokio::task::yield_now().await;
        }
    };
    in_time(waiting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_file_gets_it_when_it_is_closed() {
    let file = File::new();
    let elsewhere = std::fs::File::create(file.path()).unwrap();
    elsewhere.lock().unwrap();
    let error = SqliteBroker::open(&file.path(), file.options()).await.err().unwrap();
    assert_eq!(error.kind(), BrokerErrorKind::InUse, "a caller that does not wait gets an error");
    let options = SqliteOptions { patience: Duration::from_secs(30), ..file.options() };
    let waiting = tokio::spawn({
        let path = file.path();
        async move { SqliteBroker::open(&path, options).await.unwrap().close().await }
    });
    wait_for_waiting(&elsewhere).await;
    elsewhere.unlock().unwrap();
    in_time(waiting).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_file_too_long_is_told_to_try_again() {
    let file = File::new();
    let elsewhere = std::fs::File::create(file.path()).unwrap();
    elsewhere.lock().unwrap();
    let options = SqliteOptions { patience: Duration::from_millis(20), ..file.options() };
    let error = SqliteBroker::open(&file.path(), options).await.err().unwrap();
    assert!(error.kind() == BrokerErrorKind::InUse && error.to_string().contains("try again"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_confirmed_once_the_file_or_its_log_is_gone_or_another_one() {
    let removed = |path: &Path| std::fs::remove_file(path).unwrap();
    let moved = |path: &Path| std::fs::rename(path, path.with_extension("old")).unwrap();
    let replaced = |path: &Path| {
        removed(path);
        std::fs::write(path, "").unwrap();
    };
    for act in [&removed as &dyn Fn(&Path), &moved, &replaced] {
        for suffix in ["", "-wal"] {
            let file = File::new();
            let broker = file.open().await;
            publish(&broker, "orders", "a").await;
            act(Path::new(&format!("{}{suffix}", file.path().display())));
            let error = in_time(broker.publish(vec![publication("orders", "b")])).await.unwrap_err();
            assert_eq!(error.kind(), BrokerErrorKind::Closed, "{error}");
            assert!(error.to_string().contains("deleted, replaced or moved"), "{error}");
            let again = in_time(broker.publish(vec![publication("orders", "c")])).await.unwrap_err();
            assert_eq!(again.kind(), BrokerErrorKind::Closed, "{again}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_a_file_that_is_gone_is_an_error_though_nothing_followed() {
    for suffix in ["", "-wal"] {
        let file = File::new();
        let broker = file.open().await;
        publish(&broker, "orders", "a").await;
        std::fs::remove_file(format!("{}{suffix}", file.path().display())).unwrap();
        let error = in_time(broker.close()).await.unwrap_err();
        assert!(error.kind() == BrokerErrorKind::Closed && error.to_string().contains("deleted"), "{error}");
        in_time(broker.close()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_plain_file_is_refused_without_opening_it() {
    let file = File::new();
    let made = std::process::Command::new("mkfifo").arg(file.path()).status().unwrap();
    assert!(made.success());
    let error = in_time(SqliteBroker::open(&file.path(), file.options())).await.err().unwrap();
    assert!(error.kind() == BrokerErrorKind::Invalid && error.to_string().contains("plain file"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_writing_to_the_file_is_waited_for() {
    let file = File::new();
    let broker = file.open().await;
    publish(&broker, "orders", "a").await;
    let mut other = rusqlite::Connection::open(file.path()).unwrap();
    let writing = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    writing.execute("UPDATE meta SET value = value", []).unwrap();
    // The group reads before it writes, so it must not have begun when the other program ends.
    let declaring = tokio::spawn({
        let broker = broker.clone();
        async move { broker.queue(QueueSpec::new("declared")).await.map(drop) }
    });
    let publishing = tokio::spawn({
        let broker = broker.clone();
        async move { broker.publish(vec![publication("orders", "b")]).await }
    });
    let mut reading = tokio::spawn({
        let broker = broker.clone();
        async move { broker.stats().await }
    });
    // Only time shows that it waits: a refusal would come within milliseconds.
    let early = tokio::time::timeout(Duration::from_millis(300), &mut reading).await;
    assert!(early.is_err() && !publishing.is_finished(), "both wait");
    writing.commit().unwrap();
    in_time(declaring).await.unwrap().unwrap();
    in_time(publishing).await.unwrap().unwrap();
    in_time(reading).await.unwrap().unwrap();
}
