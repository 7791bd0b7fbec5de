//! A broker in memory with one queue, which hands messages out in order and forgets those that are rejected.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;
use wasmpost::delivery::{Broker, BrokerError, Capabilities, DeadLetters, Queue, QueueSpec, QueueStats, Receipt};
use wasmpost::msg::Publication;

use crate::queue::Stored;

/// The broker, which is its only queue as well. Clones are one.
#[derive(Clone, Default)]
pub(crate) struct Fifo {
    pub(crate) ready: Arc<Mutex<VecDeque<Stored>>>,
    /// How many messages there are, ready and leased.
    pub(crate) held: watch::Sender<usize>,
}

#[async_trait]
impl Broker for Fifo {
    fn capabilities(&self) -> Capabilities {
        // All that it does: an outbox is published with the acknowledgement, and numbers are right at once.
        let embedded = Capabilities { ordering_keys: false, key_isolation: false, ..Capabilities::in_memory() };
        let embedded = Capabilities { delays: false, ttl: false, deduplication: false, ..embedded };
        Capabilities { purge_forgets_ids: false, quotas: false, lapsing_leases: false, ..embedded }
    }

    async fn queue(&self, spec: QueueSpec) -> Result<Arc<dyn Queue>, BrokerError> {
        spec.check()?;
        Ok(Arc::new(self.clone()))
    }

    async fn publish(&self, publications: Vec<Publication>) -> Result<Vec<Receipt>, BrokerError> {
        let stored: Vec<_> = publications.into_iter().map(Stored::new).collect();
        let receipts = stored.iter().map(|stored| Receipt { id: stored.id.clone(), duplicate: false }).collect();
        self.held.send_modify(|held| *held += stored.len());
        self.ready.lock().extend(stored);
        self.held.send_modify(|_| {});
        Ok(receipts)
    }

    async fn stats(&self) -> Result<Vec<QueueStats>, BrokerError> {
        let ready = self.ready.lock().len();
        let leased = self.held.borrow().saturating_sub(ready) as u64;
        Ok(vec![QueueStats { queue: self.name().to_owned(), ready: ready as u64, leased, ..QueueStats::default() }])
    }

    fn dead_letters(&self) -> Option<&dyn DeadLetters> {
        None
    }

    async fn close(&self) -> Result<(), BrokerError> {
        Ok(())
    }
}
