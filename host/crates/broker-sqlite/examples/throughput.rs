//! Durable messages per second: 64 waiting publishers, and publishing, receiving and acking. Beside them one thread that
//! does nothing but insert into the same tables and commit in groups, with and without 64 publishers that wait for it. All
//! take turns in one process; only ratios of one run mean something.
//!
//! `cargo run --release -p wasmpost-broker-sqlite --example throughput [rounds] [directory]`
#![allow(clippy::unwrap_used, clippy::print_stdout)] // A measurement that fails has nothing to tell.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use wasmpost_broker_sqlite::{SqliteBroker, SqliteOptions};
use wasmpost_delivery::{Broker, QueueSpec};
use wasmpost_msg::{Attributes, Publication};

const PUBLISHERS: usize = 64;
const MESSAGES: usize = PUBLISHERS * 250;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rounds: usize = arguments.next().map_or(7, |rounds| rounds.parse().unwrap());
    let directory = arguments.next().unwrap_or_else(|| std::env::temp_dir().display().to_string());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut times = [const { Vec::new() }; 5];
    for _ in 0..rounds {
        let directory = tempfile::tempdir_in(&directory).unwrap();
        times[0].push(bare(&directory.path().join("bare.db")));
        times[1].push(runtime.block_on(bare_waiting(&directory.path().join("waiting.db"))));
        let broker = runtime.block_on(open(&directory.path().join("queue.db")));
        let before = broker.commits();
        times[2].push(runtime.block_on(publish(&broker)));
        let commits = broker.commits() - before;
        times[3].push(runtime.block_on(consume(&broker)));
        times[4].push(runtime.block_on(async {
            let started = Instant::now();
            tokio::join!(publish(&broker), consume(&broker));
            started.elapsed()
        }));
        runtime.block_on(broker.close()).unwrap();
        println!("{MESSAGES} messages in {commits} commits");
    }
    let names = ["bare loop", "bare loop, 64 waiting", "publish", "pull and ack", "publish, pull and ack at once"];
    let medians = times.map(|mut times| {
        times.sort();
        times.get(times.len() / 2).copied().unwrap_or_default()
    });
    for (name, median) in names.iter().zip(medians) {
        let (rate, ratio) = (MESSAGES as f64 / median.as_secs_f64(), medians[1].as_secs_f64() / median.as_secs_f64());
        println!("{name:30} {rate:9.0} messages/s  {ratio:5.2} of the bare loop with waiting publishers");
    }
    let slower = medians[2].max(medians[3]).as_secs_f64();
    println!("at once ÷ the slower alone: {:.2}", slower / medians[4].as_secs_f64());
}

fn table(path: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL").unwrap();
    connection.execute_batch(include_str!("../src/schema.sql")).unwrap();
    connection
}

fn insert(connection: &rusqlite::Connection, body: &[u8]) {
    let sql = "INSERT INTO messages (id, topic, hops, published_at, checksum, attributes, body) \
               VALUES (?1, 'orders', 0, 1, x'00112233445566778899aabbccddeeff', ?2, ?3)";
    let (id, attributes) = ("01890a5d-ac96-774b-bcce-b302099a8057", r#"{"Content-Type":["text/plain"]}"#);
    connection.prepare_cached(sql).unwrap().execute((id, attributes, body)).unwrap();
    let sql = "INSERT INTO state (queue, message, status, due, shared) VALUES (1, ?1, 0, 1, 0)";
    connection.prepare_cached(sql).unwrap().execute([connection.last_insert_rowid()]).unwrap();
}

fn bare(path: &Path) -> Duration {
    let connection = table(path);
    let body = vec![7; 1024];
    let started = Instant::now();
    for _ in 0..MESSAGES / PUBLISHERS {
        connection.execute_batch("BEGIN").unwrap();
        (0..PUBLISHERS).for_each(|_| insert(&connection, &body));
        connection.execute_batch("COMMIT").unwrap();
    }
    started.elapsed()
}

async fn bare_waiting(path: &Path) -> Duration {
    let connection = table(path);
    let (sender, receiver) = mpsc::channel::<(Vec<u8>, oneshot::Sender<()>)>();
    let writer = std::thread::spawn(move || {
        while let Ok(first) = receiver.recv() {
            connection.execute_batch("BEGIN").unwrap();
            let group: Vec<_> = std::iter::once(first).chain(receiver.try_iter()).collect();
            group.iter().for_each(|(body, _)| insert(&connection, body));
            connection.execute_batch("COMMIT").unwrap();
            group.into_iter().for_each(|(_, reply)| reply.send(()).unwrap());
        }
    });
    let started = Instant::now();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|_| {
            let sender = sender.clone();
            tokio::spawn(async move {
                for _ in 0..MESSAGES / PUBLISHERS {
                    let (reply, answer) = oneshot::channel();
                    sender.send((vec![7; 1024], reply)).unwrap();
                    answer.await.unwrap();
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let elapsed = started.elapsed();
    drop(sender);
    writer.join().unwrap();
    elapsed
}

async fn open(path: &Path) -> Arc<SqliteBroker> {
    let broker = SqliteBroker::open(path, SqliteOptions::default()).await.unwrap();
    broker.queue(QueueSpec::new("orders")).await.unwrap();
    broker
}

async fn publish(broker: &Arc<SqliteBroker>) -> Duration {
    let started = Instant::now();
    let mut attributes = Attributes::new();
    attributes.set("Content-Type", "text/plain");
    let sent = Publication::new("orders", attributes, vec![7; 1024]);
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|_| {
            let (broker, sent) = (Arc::clone(broker), sent.clone());
            tokio::spawn(async move {
                for _ in 0..MESSAGES / PUBLISHERS {
                    broker.publish(vec![sent.clone()]).await.unwrap();
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    started.elapsed()
}

async fn consume(broker: &Arc<SqliteBroker>) -> Duration {
    let queue = broker.queue(QueueSpec::new("orders")).await.unwrap();
    let started = Instant::now();
    let mut left = MESSAGES;
    while left > 0 {
        for delivery in queue.pull(100).await.unwrap() {
            delivery.lease.ack(Vec::new()).await.unwrap();
            left -= 1;
        }
    }
    queue.drained().await.unwrap();
    started.elapsed()
}
