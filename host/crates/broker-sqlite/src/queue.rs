//! Pulls from a queue.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use wasmpost_delivery::{BrokerError, Delivery, Queue, QueueSpec};
use wasmpost_msg::Publication;

use crate::ahead::Wish;
use crate::channel::{Channel, Command, Pull};

pub(crate) struct SqliteQueue {
    channel: Arc<Channel>,
    queue: i64,
    name: String,
    lease: Duration,
}

impl SqliteQueue {
    pub(crate) fn new(channel: Arc<Channel>, queue: i64, spec: QueueSpec) -> Self {
        Self { channel, queue, name: spec.name, lease: spec.lease }
    }
}

#[async_trait]
impl Queue for SqliteQueue {
    fn name(&self) -> &str {
        &self.name
    }

    fn lease(&self) -> Duration {
        self.lease
    }

    async fn pull(&self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        let queue = self.queue;
        let max = max.max(1);
        let lasts = self.lease;
        let ready = self.pull_now(max);
        if !ready.is_empty() {
            return Ok(ready);
        }
        // Deliveries that are not taken out of the reply are dropped with it, and dropped leases are given back.
        self.channel.ask(|reply| Command::Pull(Pull { queue, max, lasts, reply })).await
    }

    fn pull_now(&self, max: usize) -> Vec<Delivery> {
        self.channel.take(Wish { queue: self.queue, max, lasts: self.lease, now: self.channel.now() })
    }

    fn room(&self, publications: &[Publication]) -> Result<(), BrokerError> {
        self.channel.quotas().check(publications)
    }

    async fn drained(&self) -> Result<(), BrokerError> {
        let queue = self.queue;
        self.channel.ask(|reply| Command::Drained { queue, reply }).await
    }
}
