//! The queue of the broker, and what it keeps of a message.

use std::time::Duration;

use async_trait::async_trait;
use wasmpost::delivery::{BrokerError, Delivery, Queue, Timestamp};
use wasmpost::msg::Publication;

use crate::fifo::Fifo;
use crate::lease::FifoLease;

/// A message as it is kept.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) id: String,
    publication: Publication,
    deliveries: u32,
    pub(crate) failures: u32,
}

impl Stored {
    pub(crate) fn new(publication: Publication) -> Self {
        let id = publication.id.clone().unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        Self { id, publication, deliveries: 0, failures: 0 }
    }

    pub(crate) fn leased(mut self, broker: Fifo) -> Delivery {
        self.deliveries += 1;
        let Self { id, publication, deliveries, failures } = self.clone();
        let Publication { topic, attributes, body, hops, key, .. } = publication;
        let published_at = Timestamp::default();
        let lease = Box::new(FifoLease::new(broker, self));
        Delivery { id, topic, attributes, body, deliveries, failures, hops, key, published_at, lease }
    }
}

#[async_trait]
impl Queue for Fifo {
    fn name(&self) -> &str {
        "fifo"
    }

    fn lease(&self) -> Duration {
        Duration::from_secs(30)
    }

    async fn pull(&self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        let mut changed = self.held.subscribe();
        loop {
            let pulled: Vec<_> = {
                let mut ready = self.ready.lock();
                let count = max.min(ready.len());
                ready.drain(..count).collect()
            };
            if !pulled.is_empty() {
                return Ok(pulled.into_iter().map(|stored| stored.leased(self.clone())).collect());
            }
            // The broker has a sender of its own, so that this never ends with an error.
            let _ = changed.changed().await;
        }
    }

    async fn drained(&self) -> Result<(), BrokerError> {
        let _ = self.held.subscribe().wait_for(|held| *held == 0).await;
        Ok(())
    }
}
