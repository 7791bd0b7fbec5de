//! The whole host with its durable queue and a component that does nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use std::sync::Mutex;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use wasmpost_broker_sqlite::{SqliteBroker, SqliteOptions};
use wasmpost_delivery::{Broker, Observer, Queue, QueueServer, QueueServerOptions, QueueSpec, Settled, Share, Threads};
use wasmpost_msg::{Attributes, Publication, Receiver, Server};
use wasmpost_sandbox::Profile;

use super::{Rival, percentiles};
use crate::BODY_BYTES;
use crate::measure::{Sample, process_cpu};
use crate::work::{component, receiver, sandbox};

const PUBLISHERS: usize = 64;

pub(super) struct Own {
    id: &'static str,
    runtime: Runtime,
    threads: Threads,
    broker: Arc<SqliteBroker>,
    queue: Arc<dyn Queue>,
    receiver: Arc<dyn Receiver>,
    _directory: TempDir,
}

/// Notes when each message was acknowledged, by the number that is its id.
#[derive(Debug)]
struct Noted {
    due: Vec<Instant>,
    micros: Mutex<Vec<f64>>,
    left: AtomicUsize,
    done: tokio::sync::Notify,
}

impl Observer for Noted {
    fn settled(&self, settled: &Settled<'_>) {
        let number = settled.id.rsplit('-').next().and_then(|number| number.parse::<usize>().ok());
        let Some(due) = number.and_then(|number| self.due.get(number)) else { return };
        self.micros.lock().unwrap().push(due.elapsed().as_secs_f64() * 1e6);
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }
}

impl Own {
    pub(super) fn new(id: &'static str, reuse: u32) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let sandbox = sandbox(Profile::Guard);
        let receiver = receiver(&sandbox, &component("noop"), reuse);
        let preempt = move || sandbox.interrupt();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = Threads::start(threads, runtime.handle(), Box::new(preempt)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let (broker, queue) = runtime.block_on(async {
            let path = directory.path().join("queue.db");
            let broker = SqliteBroker::open(&path, SqliteOptions::default()).await.unwrap();
            let queue = broker.queue(QueueSpec::new("bench")).await.unwrap();
            (broker, queue)
        });
        Self { id, runtime, threads, broker, queue, receiver, _directory: directory }
    }

    /// Serves the queue while something else goes on.
    fn serving(&self, observer: Option<Arc<dyn Observer>>, others: impl Future<Output = ()>) -> Sample {
        let share = Arc::new(Share::new(usize::MAX, Some(self.threads.lane(1))));
        let options = QueueServerOptions { share: Some(share), observer, ..QueueServerOptions::default() };
        let server = Arc::new(QueueServer::new(Arc::clone(&self.queue), options));
        self.runtime.block_on(async {
            let began = Instant::now();
            let cpu = process_cpu();
            let serving = tokio::spawn({
                let server = Arc::clone(&server);
                let receiver = Arc::clone(&self.receiver);
                async move { server.serve(receiver).await }
            });
            others.await;
            self.queue.drained().await.unwrap();
            let sample = Sample { wall: began.elapsed(), cpu: process_cpu() - cpu };
            server.shutdown(Duration::from_secs(5)).await.unwrap();
            serving.await.unwrap().unwrap();
            sample
        })
    }
}

fn publication() -> Publication {
    Publication::new("bench", Attributes::new(), vec![b'x'; BODY_BYTES])
}

impl Rival for Own {
    fn name(&self) -> (&'static str, String) {
        (self.id, format!("wasmpost, embedded queue, {} instances", self.id))
    }

    fn publish(&mut self, messages: usize) -> Sample {
        let broker = Arc::clone(&self.broker);
        self.runtime.block_on(async move {
            let began = Instant::now();
            let cpu = process_cpu();
            let publish = |broker: Arc<SqliteBroker>| async move {
                for _ in 0..messages / PUBLISHERS {
                    broker.publish(vec![publication()]).await.unwrap();
                }
            };
            let tasks: Vec<_> = (0..PUBLISHERS).map(|_| tokio::spawn(publish(Arc::clone(&broker)))).collect();
            for task in tasks {
                task.await.unwrap();
            }
            Sample { wall: began.elapsed(), cpu: process_cpu() - cpu }
        })
    }

    fn serve(&mut self, _messages: usize) -> Sample {
        self.serving(None, async {})
    }

    fn latency(&mut self, rate: usize, duration: Duration) -> Option<[f64; 3]> {
        let began = Instant::now() + Duration::from_millis(50);
        let count = (rate as f64 * duration.as_secs_f64()) as usize;
        let due: Vec<_> = (0..count).map(|at| began + Duration::from_secs_f64(at as f64 / rate as f64)).collect();
        let run = began.elapsed().as_nanos() + std::process::id() as u128 + self.broker.commits() as u128;
        let noted = Arc::new(Noted {
            due: due.clone(),
            micros: Mutex::default(),
            left: AtomicUsize::new(count),
            done: tokio::sync::Notify::new(),
        });
        let broker = Arc::clone(&self.broker);
        let handle = self.runtime.handle().clone();
        // A thread of its own keeps the times better than a timer does.
        let sending = std::thread::spawn(move || {
            for (number, due) in due.into_iter().enumerate() {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let broker = Arc::clone(&broker);
                handle.spawn(async move {
                    let mut publication = publication();
                    publication.id = Some(format!("{run}-{number}"));
                    broker.publish(vec![publication]).await.unwrap();
                });
            }
        });
        let done = Arc::clone(&noted);
        self.serving(Some(Arc::clone(&noted) as Arc<dyn Observer>), async move {
            let all = tokio::time::timeout(duration + Duration::from_secs(60), done.done.notified());
            all.await.unwrap();
        });
        sending.join().unwrap();
        Some(percentiles(std::mem::take(&mut *noted.micros.lock().unwrap())))
    }
}
