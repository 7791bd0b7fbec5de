//! A broker in memory with a queue `orders`, and servers for it.
#![allow(dead_code, unreachable_pub)] // Each file of tests uses a part of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
use wasmpost_delivery::{
    Broker, Clock, DeadLetter, DeadLetterFilter, DeadLetters, QueueServer, QueueServerOptions, QueueSpec, QueueStats,
};
use wasmpost_msg::{Attributes, Message, Publication, Receiver, ReceiverFunc, ServeError, Server, ServerClosed};

pub const LONG: Duration = Duration::from_secs(25);

pub struct Bench {
    pub broker: MemoryBroker,
    pub options: QueueServerOptions,
}

/// A server at work.
pub struct Serving {
    pub server: Arc<QueueServer>,
    pub task: tokio::task::JoinHandle<Result<ServerClosed, ServeError>>,
}

impl Bench {
    pub fn new() -> Self {
        let broker = MemoryBroker::new(MemoryOptions { clock: Clock::system(), ..MemoryOptions::default() });
        Self { broker, options: QueueServerOptions::default() }
    }

    pub async fn publish(&self, bodies: &[&str]) {
        let publications = bodies.iter().map(|&body| Publication::new("orders", Attributes::new(), body.to_owned()));
        self.broker.publish(publications.collect()).await.unwrap();
    }

    pub async fn serve(&self, receiver: impl Receiver + 'static) -> Serving {
        let queue = self.broker.queue(QueueSpec::new("orders")).await.unwrap();
        let server = Arc::new(QueueServer::new(queue, self.options.clone()));
        let serving = Arc::clone(&server);
        let task = tokio::spawn(async move { serving.serve(Arc::new(receiver)).await });
        Serving { server, task }
    }

    pub async fn drained(&self) {
        let queue = self.broker.queue(QueueSpec::new("orders")).await.unwrap();
        queue.drained().await.unwrap();
    }

    pub async fn dead(&self) -> Vec<DeadLetter> {
        self.broker.show(&DeadLetterFilter::default(), 0, 100).await.unwrap()
    }

    pub async fn stats(&self, queue: &str) -> QueueStats {
        let all = self.broker.stats().await.unwrap();
        all.into_iter().find(|stats| stats.queue == queue).unwrap_or_default()
    }
}

impl Serving {
    pub async fn stop(self) {
        assert_eq!(self.server.shutdown(LONG).await, Ok(ServerClosed));
        self.task.await.unwrap().unwrap();
    }
}

/// A receiver that works for a second on each message, and counts how many it works on now and did at most.
pub fn counting(now: &Arc<AtomicUsize>, most: &Arc<AtomicUsize>) -> impl Receiver + 'static {
    let now = Arc::clone(now);
    let most = Arc::clone(most);
    ReceiverFunc(move |_| {
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let now = Arc::clone(&now);
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    })
}

pub fn body(message: &Message) -> String {
    String::from_utf8(message.body.as_bytes().unwrap().to_vec()).unwrap()
}
