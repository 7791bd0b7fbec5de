//! Everything that grows in the file has a bound, and a file of an earlier version is migrated completely.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // Broken promises fail a test by panicking.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::{File, next, publication, publish, queue, stats};
use wasmpost_broker_sqlite::{SqliteBroker, SqliteOptions};
use wasmpost_delivery::{Broker, BrokerErrorKind, DeadLetterFilter, TenantQuota};

/// Ids are remembered for a hundred years in the file of version 1.
const WINDOW: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

async fn is_known(broker: &SqliteBroker, topic: &str, id: &str) -> bool {
    broker.publish(vec![publication(topic, id)]).await.unwrap()[0].duplicate
}

async fn of_version_1(file: &File) -> Arc<SqliteBroker> {
    std::fs::write(file.path(), include_bytes!("files/version-1.db")).unwrap();
    let options = SqliteOptions { deduplication_window: WINDOW, ..file.options() };
    SqliteBroker::open(&file.path(), options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_version_1_keeps_its_messages_and_knows_its_ids() {
    let file = File::new();
    let broker = of_version_1(&file).await;
    for (topic, id) in [("orders", "dead"), ("orders", "failed"), ("@acme/letters", "one"), ("@other/letters", "three")]
    {
        assert!(is_known(&broker, topic, id).await, "{id}");
    }
    assert!(!is_known(&broker, "@acme/letters", "dead").await, "an id belongs to its topic");
    let orders = queue(&broker, "orders").await;
    let failed = next(&orders).await;
    let waiting = next(&orders).await;
    assert_eq!((failed.id.as_str(), failed.deliveries, failed.failures), ("failed", 2, 1));
    assert_eq!((waiting.id.as_str(), waiting.body.as_ref()), ("waiting", &b"waiting"[..]));
    assert_eq!(stats(&broker, "orders").await.dead, 1);
    assert_eq!(broker.dead_letters().unwrap().redrive(&DeadLetterFilter::default()).await.unwrap(), 1);
    assert_eq!(next(&orders).await.id, "dead");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_version_1_has_its_messages_counted() {
    let file = File::new();
    let broker = of_version_1(&file).await;
    broker.set_quotas(BTreeMap::from([("acme".to_owned(), TenantQuota::of_messages(3))])).await.unwrap();
    publish(&broker, "@acme/letters", "third").await;
    let error = broker.publish(vec![publication("@acme/letters", "fourth")]).await.unwrap_err();
    assert_eq!(error.kind(), BrokerErrorKind::Full);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_version_1_becomes_the_same_as_a_new_one() {
    let old = File::new();
    let new = File::new();
    of_version_1(&old).await.close().await.unwrap();
    new.open().await.close().await.unwrap();
    let schema = |file: &File| {
        let connection = rusqlite::Connection::open(file.path()).unwrap();
        let mut find = connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").unwrap();
        let rows = find.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<Result<Vec<(String, Option<String>)>, _>>().unwrap()
    };
    assert_eq!(schema(&old), schema(&new));
    assert_eq!((old.number("PRAGMA user_version"), new.number("PRAGMA user_version")), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_ids_are_forgotten_beyond_the_most_that_are_remembered() {
    let file = File::new();
    let options = SqliteOptions { deduplication_ids_max: 3, ..file.options() };
    let broker = SqliteBroker::open(&file.path(), options).await.unwrap();
    for id in ["a", "b", "c", "d"] {
        assert!(!is_known(&broker, "orders", id).await);
        file.clock.advance(Duration::from_millis(1));
    }
    assert_eq!(file.number("SELECT count(*) FROM ids"), 3);
    assert!(is_known(&broker, "orders", "b").await && !is_known(&broker, "orders", "a").await);
    broker.publish((0..100).map(|number| publication("orders", &number.to_string())).collect()).await.unwrap();
    assert_eq!(file.number("SELECT count(*) FROM ids"), 3, "also after many at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_takes_less_than_a_hundred_bytes() {
    let file = File::new();
    let broker = file.open().await;
    let orders = queue(&broker, "orders").await;
    let id = |number: usize| format!("{number:0>500}");
    for batch in 0..20 {
        let some = (batch * 500..(batch + 1) * 500).map(|number| publication("orders", &id(number))).collect();
        broker.publish(some).await.unwrap();
        let mut left = 500;
        while left > 0 {
            for delivery in orders.pull(500).await.unwrap() {
                delivery.lease.ack(Vec::new()).await.unwrap();
                left -= 1;
            }
        }
    }
    broker.close().await.unwrap();
    let bytes = std::fs::metadata(file.path()).unwrap().len();
    assert!(bytes < 10_000 * 100 + (200 << 10), "{bytes} bytes for ten thousand ids");
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_whose_time_is_over_are_forgotten_however_many_come_at_once() {
    let file = File::new();
    let broker = file.open().await;
    let batch = |name: &str| (0..500).map(|number| publication("orders", &format!("{name} {number}"))).collect();
    broker.publish(batch("old")).await.unwrap();
    file.clock.advance(Duration::from_secs(601));
    broker.publish(batch("new")).await.unwrap();
    assert_eq!(file.number("SELECT count(*) FROM ids"), 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_hold_for_whoever_opens_the_file() {
    let file = File::new();
    let broker = file.open().await;
    let quota = TenantQuota { messages: Some(2), topics: Some(1) };
    broker.set_quotas(BTreeMap::from([("acme".to_owned(), quota)])).await.unwrap();
    publish(&broker, "@acme/a", "1").await;
    broker.abandon().await;
    let broker = file.open().await;
    let refused = broker.publish(vec![publication("@acme/b", "2")]).await.unwrap_err();
    assert_eq!(refused.kind(), BrokerErrorKind::Limit, "a second topic");
    publish(&broker, "@acme/a", "2").await;
    let refused = broker.publish(vec![publication("@acme/a", "3")]).await.unwrap_err();
    assert_eq!(refused.kind(), BrokerErrorKind::Full);
    broker.set_quotas(BTreeMap::new()).await.unwrap();
    broker.close().await.unwrap();
    let broker = file.open().await;
    broker.publish(vec![publication("@acme/a", "3"), publication("@acme/b", "4")]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_of_tenants_survive_an_end_without_order() {
    let file = File::new();
    let broker = file.open().await;
    let orders = queue(&broker, "@acme/orders").await;
    for number in 0..5 {
        publish(&broker, "@acme/orders", &number.to_string()).await;
    }
    next(&orders).await.lease.ack(Vec::new()).await.unwrap();
    // An answer to this comes after the ack is stored.
    stats(&broker, "@acme/orders").await;
    broker.abandon().await;
    drop(file.open().await);
    assert_eq!(file.number("SELECT messages FROM tenants WHERE name = 'acme'"), 4);
    assert_eq!(file.number("SELECT count(*) FROM messages"), 4);
}
