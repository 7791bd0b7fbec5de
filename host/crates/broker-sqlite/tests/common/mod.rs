//! Shared by the tests of the queue file.
#![allow(dead_code, unreachable_pub)] // Each test file uses its part.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // Broken promises fail a test by panicking.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wasmpost_broker_sqlite::{SqliteBroker, SqliteOptions};
use wasmpost_delivery::{Attempt, AttemptVerdict, Broker, Clock, Delivery, Queue, QueueSpec, QueueStats};
use wasmpost_msg::{Attributes, Publication, Reason};

/// A queue file in a directory of its own, and a clock that stands still until it is advanced.
pub struct File {
    directory: tempfile::TempDir,
    pub clock: Clock,
}

impl File {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), clock: Clock::manual() }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("queue.db")
    }

    pub fn options(&self) -> SqliteOptions {
        SqliteOptions { clock: Some(self.clock.clone()), ..SqliteOptions::default() }
    }

    pub async fn open(&self) -> Arc<SqliteBroker> {
        SqliteBroker::open(&self.path(), self.options()).await.unwrap()
    }

    /// Has another SQLite connection do something to the file.
    pub fn sql(&self, sql: &str) {
        rusqlite::Connection::open(self.path()).unwrap().execute_batch(sql).unwrap();
    }

    /// One number from another SQLite connection.
    pub fn number(&self, sql: &str) -> i64 {
        rusqlite::Connection::open(self.path()).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

pub async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("broker answers in time")
}

pub async fn queue(broker: &SqliteBroker, name: &str) -> Arc<dyn Queue> {
    broker.queue(QueueSpec::new(name)).await.unwrap()
}

/// A publication whose id is its body.
pub fn publication(topic: &str, body: &str) -> Publication {
    Publication { id: Some(body.to_owned()), ..Publication::new(topic, Attributes::new(), body.to_owned()) }
}

pub async fn publish(broker: &SqliteBroker, topic: &str, body: &str) {
    in_time(broker.publish(vec![publication(topic, body)])).await.unwrap();
}

pub async fn next(queue: &Arc<dyn Queue>) -> Delivery {
    in_time(queue.pull(1)).await.unwrap().pop().unwrap()
}

/// The next delivery, which a receiver is about to get.
pub async fn begun(queue: &Arc<dyn Queue>) -> Delivery {
    let delivery = next(queue).await;
    delivery.lease.begin().unwrap();
    delivery
}

pub async fn stats(broker: &SqliteBroker, queue: &str) -> QueueStats {
    let all = in_time(broker.stats()).await.unwrap();
    all.into_iter().find(|stats| stats.queue == queue).unwrap_or_default()
}

pub fn failed(delivery: &Delivery) -> Attempt {
    Attempt {
        number: delivery.deliveries,
        started_at: delivery.published_at,
        duration: Duration::from_millis(5),
        verdict: AttemptVerdict::Nack,
        delay: None,
        reason: Reason::Failed,
        error: "no".into(),
    }
}
