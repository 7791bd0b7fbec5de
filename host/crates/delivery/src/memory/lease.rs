//! Leases in memory.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use wasmpost_msg::Publication;

use super::MemoryBroker;
use super::state::Ticket;
use crate::dead_letter::Evidence;
use crate::error::BrokerError;
use crate::lease::{Lease, Nack, Renewer};
use crate::prove::{Point, pass};

pub(super) struct MemoryLease {
    leased: Arc<Leased>,
    is_settled: bool,
}

/// A lease and its holder. It also renews the lease: once that is settled, the ticket leads nowhere.
struct Leased {
    broker: MemoryBroker,
    ticket: Ticket,
    duration: Duration,
}

impl MemoryLease {
    pub(super) fn new(broker: MemoryBroker, ticket: Ticket, duration: Duration) -> Self {
        Self { leased: Arc::new(Leased { broker, ticket, duration }), is_settled: false }
    }

    /// The broker and the ticket, which is then settled and not given back on drop.
    fn settle(&mut self) -> (&MemoryBroker, &Ticket) {
        self.is_settled = true;
        (&self.leased.broker, &self.leased.ticket)
    }
}

#[async_trait]
impl Lease for MemoryLease {
    fn renewer(&self) -> Arc<dyn Renewer> {
        Arc::<Leased>::clone(&self.leased)
    }

    async fn ack(mut self: Box<Self>, outbox: Vec<Publication>) -> Result<(), BrokerError> {
        let (broker, ticket) = self.settle();
        let now = broker.now();
        pass(Point::Acked);
        pass(Point::AckCommitting);
        let acked = broker.open()?.ack(ticket, outbox, now);
        pass(Point::AckCommitted);
        acked
    }

    async fn nack(mut self: Box<Self>, nack: Nack) -> Result<(), BrokerError> {
        let (broker, ticket) = self.settle();
        let now = broker.now();
        broker.open()?.nack(ticket, nack, now)
    }

    async fn reject(mut self: Box<Self>, evidence: Evidence) -> Result<(), BrokerError> {
        let (broker, ticket) = self.settle();
        let now = broker.now();
        broker.open()?.reject(ticket, evidence, now)
    }
}

impl Drop for MemoryLease {
    fn drop(&mut self) {
        if !self.is_settled {
            let Leased { broker, ticket, .. } = &*self.leased;
            let now = broker.now();
            // A lease that lapsed meanwhile needs no giving back.
            drop(broker.0.state.lock().nack(ticket, Nack::give_back(), now));
        }
    }
}

#[async_trait]
impl Renewer for Leased {
    async fn renew(&self) -> Result<(), BrokerError> {
        let now = self.broker.now();
        self.broker.open()?.renew(&self.ticket, self.duration, now)
    }
}
