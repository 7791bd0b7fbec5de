//! Shared by the cases: brokers, a receiver that takes notes, and waiting for a condition.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::Mutex;
use wasmpost_broker_rabbitmq::{RabbitBroker, RabbitOptions};
use wasmpost_delivery::{Broker, Delivery, Queue, QueueServer, QueueServerOptions, QueueSpec};
use wasmpost_msg::{Attributes, Message, Publication, ReceiveError, Receiver, Server};
use wasmpost_tests::PATIENCE;

/// Takes note of the id of each message.
#[derive(Default)]
pub(crate) struct Notes(Mutex<BTreeMap<String, usize>>);

pub(crate) async fn open(url: &str) -> Arc<RabbitBroker> {
    RabbitBroker::open(url, RabbitOptions::default()).await.unwrap()
}

pub(crate) fn publication(topic: &str, id: impl ToString) -> Publication {
    let id = id.to_string();
    Publication { id: Some(id.clone()), ..Publication::new(topic, Attributes::new(), id) }
}

pub(crate) async fn next(queue: &Arc<dyn Queue>) -> Delivery {
    tokio::time::timeout(PATIENCE, queue.pull(1)).await.unwrap().unwrap().pop().unwrap()
}

/// Publishes until it is confirmed.
pub(crate) async fn publish_patiently(broker: &RabbitBroker, publication: Publication) {
    let began = Instant::now();
    while let Err(error) = broker.publish(vec![publication.clone()]).await {
        assert!(began.elapsed() < PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Serves a queue of a broker until the case ends.
pub(crate) async fn serve(broker: &RabbitBroker, queue: &str, concurrency: usize) -> (Arc<QueueServer>, Arc<Notes>) {
    let queue = broker.queue(QueueSpec::new(queue)).await.unwrap();
    let options = QueueServerOptions { concurrency, ..QueueServerOptions::default() };
    let server = Arc::new(QueueServer::new(queue, options));
    let notes = Arc::<Notes>::default();
    let serving = Arc::clone(&server);
    let receiver = Arc::clone(&notes);
    tokio::spawn(async move { serving.serve(receiver).await.map(drop) });
    (server, notes)
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Notes {
    pub(crate) async fn ids(&self) -> Vec<String> {
        self.0.lock().await.keys().cloned().collect()
    }

    pub(crate) async fn times(&self) -> usize {
        self.0.lock().await.values().sum()
    }
}

#[async_trait]
impl Receiver for Notes {
    async fn receive(&self, message: Message) -> Result<(), ReceiveError> {
        *self.0.lock().await.entry(message.context.id().to_owned()).or_default() += 1;
        Ok(())
    }
}
