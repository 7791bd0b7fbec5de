//! Damaged records of the queue file: the damage is reported, and other records can still be listed and are delivered.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use rusqlite::Connection;
use rusqlite::types::Value;
use wasmpost_broker_sqlite::{SqliteBroker, SqliteOptions};
use wasmpost_delivery::{Attempt, AttemptVerdict, Broker, DeadLetterFilter, Evidence, Nack, QueueSpec};
use wasmpost_msg::{Attributes, Publication, Reason};

use super::fuzz;
use super::mutation::changed;

const LETTERS: usize = 4;
/// The columns of a dead letter that may be damaged. None of them identifies its message.
const COLUMNS: &[&str] = &["reason", "dead_at", "deliveries", "evidence", "attempts"];

/// A file with dead letters, which are named by numbers.
async fn with_letters(path: &std::path::Path) {
    let broker = SqliteBroker::open(path, SqliteOptions::default()).await.unwrap();
    let queue = broker.queue(QueueSpec::new("work")).await.unwrap();
    let publication = |number: usize| Publication {
        id: Some(number.to_string()),
        ..Publication::new("work", Attributes::new(), number.to_string())
    };
    broker.publish((0..LETTERS).map(publication).collect()).await.unwrap();
    let attempt = |number| Attempt {
        number,
        started_at: wasmpost_delivery::Timestamp::default(),
        duration: Duration::from_millis(3),
        verdict: AttemptVerdict::Nack,
        delay: Some(Duration::ZERO),
        reason: Reason::Trap,
        error: "trap".into(),
    };
    for delivery in queue.pull(LETTERS).await.unwrap() {
        delivery.lease.nack(Nack { delay: Duration::ZERO, attempt: Some(attempt(1)) }).await.unwrap();
    }
    for _ in 0..LETTERS {
        for delivery in queue.pull(1).await.unwrap() {
            let evidence = Evidence { attempt: Some(attempt(2)), ..Evidence::by_host(Reason::Trap, "it trapped") };
            delivery.lease.reject(evidence).await.unwrap();
        }
    }
    broker.close().await.unwrap();
}

fn damage() -> impl Strategy<Value = Value> {
    let samples = vec![
        br#"{"reason":"trap","error":"e","cpu_us":1,"memory_peak_bytes":2,"attempt":null}"#.to_vec(),
        br#"[{"number":1,"started_at":3,"duration_us":4,"verdict":"nack","delay_us":null,"reason":"trap","error":"x"}]"#.to_vec(),
        b"trap".to_vec(),
    ];
    prop_oneof![
        changed(samples.clone(), &["null", "-1", "1e400", "\"reason\"", "[", "{}"], 4)
            .prop_map(|bytes| Value::Text(String::from_utf8_lossy(&bytes).into_owned())),
        changed(samples, &[], 4).prop_map(Value::Blob),
        any::<i64>().prop_map(Value::Integer),
        any::<f64>().prop_map(Value::Real),
    ]
}

#[test]
fn dead_letters_whose_records_are_damaged_are_listed_redriven_and_purged_with_their_neighbours() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let sound = directory.path().join("sound.db");
    let path = directory.path().join("damaged.db");
    runtime.block_on(with_letters(&sound));
    let inputs = vec((0..LETTERS, proptest::sample::select(COLUMNS), damage()), 1..4);
    fuzz("records of dead letters", inputs, |damages| {
        std::fs::copy(&sound, &path).unwrap();
        let connection = Connection::open(&path).unwrap();
        for (letter, column, value) in &damages {
            let sql = format!("UPDATE dead SET {column} = ?1 WHERE id = ?2");
            connection.execute(&sql, (value, letter.to_string())).unwrap();
        }
        drop(connection);
        runtime.block_on(check(&path));
    });
}

async fn check(path: &std::path::Path) {
    let broker: Arc<dyn Broker> = SqliteBroker::open(path, SqliteOptions::default()).await.unwrap();
    let letters = broker.dead_letters().unwrap();
    let listed = letters.show(&DeadLetterFilter::default(), 0, 100).await.unwrap();
    let mut ids: Vec<_> = listed.iter().map(|letter| letter.id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["0", "1", "2", "3"], "all are listed");
    assert!(listed.iter().all(|letter| letter.body == letter.id), "with the bodies that they have");
    let by_id = |id: &str| DeadLetterFilter { ids: vec![id.to_owned()], ..DeadLetterFilter::default() };
    assert_eq!(letters.redrive(&by_id("1")).await.unwrap(), 1);
    assert_eq!(letters.purge(&by_id("2")).await.unwrap(), 1);
    let queue = broker.queue(QueueSpec::new("work")).await.unwrap();
    let pulled = tokio::time::timeout(Duration::from_secs(20), queue.pull(9)).await.unwrap().unwrap();
    assert_eq!(pulled.iter().map(|delivery| delivery.id.as_str()).collect::<Vec<_>>(), ["1"]);
    drop(pulled);
    broker.close().await.unwrap();
}
