//! Pulling from a queue in memory.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::MemoryBroker;
use super::held::Entry;
use super::lease::MemoryLease;
use super::state::{Signals, Ticket};
use crate::broker::{Queue, QueueSpec};
use crate::error::BrokerError;
use crate::lease::Delivery;
use crate::prove::{Point, pass};
use crate::timestamp::Timestamp;
use wasmpost_msg::Publication;

pub(super) struct MemoryQueue {
    broker: MemoryBroker,
    name: Arc<str>,
    lease: Duration,
    signals: Signals,
}

impl MemoryQueue {
    pub(super) fn new(broker: MemoryBroker, spec: QueueSpec, signals: Signals) -> Self {
        Self { broker, name: spec.name.into(), lease: spec.lease, signals }
    }

    /// Leases what is due, and says when to look again if nothing is.
    fn take(&self, max: usize, now: Timestamp) -> Result<(Vec<Delivery>, Option<Timestamp>), BrokerError> {
        let (taken, next) = self.broker.open()?.lease(&self.name, max, self.lease, now);
        if !taken.is_empty() {
            pass(Point::Leased);
        }
        Ok((taken.into_iter().map(|(ticket, entry)| self.delivery(ticket, entry)).collect(), next))
    }

    fn delivery(&self, ticket: Ticket, entry: Entry) -> Delivery {
        let lease = MemoryLease::new(self.broker.clone(), ticket, self.lease);
        let publication = entry.publication;
        Delivery {
            id: entry.id.to_string(),
            topic: publication.topic.clone(),
            attributes: publication.attributes.clone(),
            body: publication.body.clone(),
            deliveries: entry.deliveries,
            failures: entry.failures,
            hops: publication.hops,
            key: publication.key.clone(),
            published_at: entry.published_at,
            lease: Box::new(lease),
        }
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    fn name(&self) -> &str {
        &self.name
    }

    fn lease(&self) -> Duration {
        self.lease
    }

    async fn pull(&self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        loop {
            let ready = self.signals.ready.notified();
            let now = self.broker.now();
            let (taken, next) = self.take(max.max(1), now)?;
            if !taken.is_empty() {
                return Ok(taken);
            }
            match next {
                None => ready.await,
                // A manual clock wakes the waiters itself when it is advanced; the timer then only looks once more.
                Some(next) => drop(tokio::time::timeout(next.since(now), ready).await),
            }
        }
    }

    fn pull_now(&self, max: usize) -> Vec<Delivery> {
        // A broker that was closed is told by the next pull that may wait.
        self.take(max, self.broker.now()).map(|(taken, _)| taken).unwrap_or_default()
    }

    fn room(&self, publications: &[Publication]) -> Result<(), BrokerError> {
        let now = self.broker.now();
        self.broker.open()?.room(publications, now)
    }

    async fn drained(&self) -> Result<(), BrokerError> {
        loop {
            let drained = self.signals.drained.notified();
            if self.broker.open()?.drained(&self.name) {
                return Ok(());
            }
            drained.await;
        }
    }
}
