//! The raw SQLite group-commit loop, and the durable queue, under 64 publishers.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;
use wasmpost_broker_sqlite::{SqliteBroker, SqliteOptions};
use wasmpost_delivery::{Broker, QueueServer, QueueServerOptions, QueueSpec};
use wasmpost_msg::{Attributes, Publication, ReceiverFunc, Server};

use crate::BODY_BYTES;
use crate::measure::{By, Row, Sample, timed_async};
use crate::posted;
use crate::report::Report;

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
async fn publishers<F, T>(publish: F) -> Sample
where
    F: Fn(Vec<u8>) -> T + Clone + Send + 'static,
    T: Future<Output = ()> + Send,
{
    timed_async(async {
        let publish_some = |publish: F| async move {
            for _ in 0..MESSAGES / PUBLISHERS {
                publish(vec![b'x'; BODY_BYTES]).await;
            }
        };
        let tasks: Vec<_> = (0..PUBLISHERS).map(|_| tokio::spawn(publish_some(publish.clone()))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    })
    .await
}

/// Serves the queue with a receiver that does nothing, until as many messages were handled.
async fn serve(broker: &SqliteBroker, others: impl Future<Output = ()>) -> Sample {
    let queue = broker.queue(QueueSpec::new("bench")).await.unwrap();
    let server = Arc::new(QueueServer::new(Arc::clone(&queue), QueueServerOptions::default()));
    let sample = timed_async(async {
        let serving = tokio::spawn({
            let server = Arc::clone(&server);
            async move { server.serve(Arc::new(ReceiverFunc(|_| async { Ok(()) }))).await }
        });
        others.await;
        queue.drained().await.unwrap();
        drop(serving);
    })
    .await;
    server.shutdown(Duration::from_secs(5)).await.unwrap();
    sample
}

pub(crate) fn run(report: &mut Report, rounds: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut rows = [
        ("durable-raw", "raw SQLite group-commit loop"),
        ("durable-publish", "durable queue, publish"),
        ("durable-http", "durable queue, publish by HTTP"),
        ("durable-serve", "durable queue, lease, native receiver, ack"),
        ("durable-both", "durable queue, both at once"),
        ("durable-slower", "the slower of the two alone"),
    ]
    .map(|(id, name)| Row::new(id, name));
    let mut commits = 0;
    for round in 0..=rounds {
        let directory = tempfile::tempdir().unwrap();
        let samples = runtime.block_on(async {
            let raw = Arc::new(Raw::open(&directory.path().join("raw.db")));
            let raw_took = publishers(move |body| {
                let raw = Arc::clone(&raw);
                async move { raw.publish(body).await }
            })
            .await;
            let broker = open(&directory.path().join("queue.db")).await;
            let published = publish_all(&broker).await;
            commits = broker.commits();
            let other = open(&directory.path().join("http.db")).await;
            let posted = posted::post_all(&other, PUBLISHERS, MESSAGES).await;
            other.close().await.unwrap();
            let served = serve(&broker, async {}).await;
            let both = serve(&broker, async { _ = publish_all(&broker).await }).await;
            broker.close().await.unwrap();
            let slower = if published.wall > served.wall { published } else { served };
            [raw_took, published, posted, served, both, slower]
        });
        // The first round warms up.
        if round > 0 {
            rows.iter_mut().zip(samples).for_each(|(row, sample)| row.add(sample, MESSAGES));
        }
    }
    report.group(&format!("{PUBLISHERS} publishers, fsync at each commit"), By::Wall, rows.into());
    report.note(format!("{} messages for each commit of the durable queue", MESSAGES as u64 / commits.max(1)));
}

async fn open(path: &std::path::Path) -> Arc<SqliteBroker> {
    SqliteBroker::open(path, SqliteOptions::default()).await.unwrap()
}

async fn publish_all(broker: &Arc<SqliteBroker>) -> Sample {
    let broker = Arc::clone(broker);
    publishers(move |body| {
        let broker = Arc::clone(&broker);
        async move {
            broker.publish(vec![Publication::new("bench", Attributes::new(), body)]).await.unwrap();
        }
    })
    .await
}
