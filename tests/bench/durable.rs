//! The raw SQLite group-commit loop, and the durable queue, under 64 publishers.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;
use wasmpost_broker_sqlite::{SqliteBroker, SqliteOptions};
use wasmpost_delivery::{Broker, QueueSpec};
use wasmpost_msg::{Attributes, Publication};

use crate::{BODY_BYTES, Rounds};

const ROUNDS: usize = 9;
const PUBLISHERS: usize = 64;
const MESSAGES: usize = 200 * PUBLISHERS;

/// The least that a durable queue does: a thread that inserts what waits, commits with fsync, and answers.
struct Raw {
    sender: mpsc::SyncSender<(Vec<u8>, oneshot::Sender<()>)>,
}

impl Raw {
    fn open(path: &std::path::Path) -> Self {
        let connection = Connection::open(path).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.pragma_update(None, "synchronous", "FULL").unwrap();
        connection
            .execute_batch(
                "CREATE TABLE messages (number INTEGER PRIMARY KEY, id TEXT, topic TEXT, body BLOB);
                 CREATE TABLE state (queue INTEGER, message INTEGER, due INTEGER, attempts INTEGER,
                                     PRIMARY KEY (queue, message)) WITHOUT ROWID;
                 CREATE INDEX ready ON state (queue, due);",
            )
            .unwrap();
        let (sender, receiver) = mpsc::sync_channel::<(Vec<u8>, oneshot::Sender<()>)>(4096);
        std::thread::spawn(move || {
            while let Ok(first) = receiver.recv() {
                let mut answers = Vec::new();
                connection.execute_batch("BEGIN").unwrap();
                for (body, answer) in std::iter::once(first).chain(receiver.try_iter().take(511)) {
                    let sql = "INSERT INTO messages (id, topic, body) VALUES (?1, ?2, ?3)";
                    let id = "0198f2c4-5b1e-7c3a-9d9f-0c6f1a2b3c4d";
                    connection.prepare_cached(sql).unwrap().execute((id, "bench", body)).unwrap();
                    let sql = "INSERT INTO state VALUES (1, ?1, 1, 0)";
                    connection.prepare_cached(sql).unwrap().execute([connection.last_insert_rowid()]).unwrap();
                    answers.push(answer);
                }
                connection.execute_batch("COMMIT").unwrap();
                answers.into_iter().for_each(|answer| answer.send(()).unwrap());
            }
        });
        Self { sender }
    }

    async fn publish(&self, body: Vec<u8>) {
        let (answer, answered) = oneshot::channel();
        self.sender.send((body, answer)).unwrap();
        answered.await.unwrap();
    }
}

/// Runs 64 tasks that each publish one message after the other.
async fn publishers<F, T>(publish: F) -> Duration
where
    F: Fn(Vec<u8>) -> T + Clone + Send + 'static,
    T: Future<Output = ()> + Send,
{
    let began = Instant::now();
    let tasks: Vec<_> = (0..PUBLISHERS)
        .map(|_| {
            let publish = publish.clone();
            tokio::spawn(async move {
                for _ in 0..MESSAGES / PUBLISHERS {
                    publish(vec![b'x'; BODY_BYTES]).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    began.elapsed()
}

/// From a full queue to an empty one, without a receiver.
async fn drain(broker: &SqliteBroker) -> Duration {
    let queue = broker.queue(QueueSpec::new("bench")).await.unwrap();
    let began = Instant::now();
    let mut left = MESSAGES;
    while left > 0 {
        for delivery in queue.pull(100).await.unwrap() {
            delivery.lease.ack(Vec::new()).await.unwrap();
            left -= 1;
        }
    }
    queue.drained().await.unwrap();
    began.elapsed()
}

pub(crate) fn run() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (mut raws, mut queues, mut drains) = (Rounds::default(), Rounds::default(), Rounds::default());
    let mut commits = 0;
    for round in 0..=ROUNDS {
        let directory = tempfile::tempdir().unwrap();
        let (raw, queue, drained) = runtime.block_on(async {
            let raw = Arc::new(Raw::open(&directory.path().join("raw.db")));
            let raw_took = publishers(move |body| {
                let raw = Arc::clone(&raw);
                async move { raw.publish(body).await }
            })
            .await;
            let broker =
                SqliteBroker::open(&directory.path().join("queue.db"), SqliteOptions::default()).await.unwrap();
            let publishing = Arc::clone(&broker);
            let took = publishers(move |body| {
                let broker = Arc::clone(&publishing);
                async move {
                    broker.publish(vec![Publication::new("bench", Attributes::new(), body)]).await.unwrap();
                }
            })
            .await;
            commits = broker.commits();
            let drained = drain(&broker).await;
            broker.close().await.unwrap();
            (raw_took, took, drained)
        });
        if round > 0 {
            raws.add(raw, MESSAGES);
            queues.add(queue, MESSAGES);
            drains.add(drained, MESSAGES);
        }
    }
    println!("durable, {PUBLISHERS} publishers, fsync at each commit:");
    raws.print("  raw SQLite group-commit loop", &raws);
    queues.print("  durable queue, publish", &raws);
    drains.print("  durable queue, lease and ack, 100 at a time", &raws);
    println!("  {} messages for each commit of the durable queue", MESSAGES as u64 / commits.max(1));
}
