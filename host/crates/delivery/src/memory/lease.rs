//! Leases in memory.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use wasmpost_msg::Publication;

use super::MemoryBroker;
use super::state::Ticket;
use crate::prove::{Point, pass};
use crate::{BrokerError, Evidence, Lease, Nack, Renewer};

pub(super) struct MemoryLease {
    broker: MemoryBroker,
    ticket: Option<Ticket>,
    duration: Duration,
}

struct MemoryRenewer {
    broker: MemoryBroker,
    ticket: Option<Ticket>,
    duration: Duration,
}

impl MemoryLease {
    pub(super) fn new(broker: MemoryBroker, ticket: Ticket, duration: Duration) -> Self {
        Self { broker, ticket: Some(ticket), duration }
    }

    /// The ticket, which is then settled and not given back on drop.
    fn settle(&mut self) -> Result<Ticket, BrokerError> {
        self.ticket.take().ok_or_else(|| BrokerError::stale("", ""))
    }
}

#[async_trait]
impl Lease for MemoryLease {
    fn renewer(&self) -> Arc<dyn Renewer> {
        let (broker, ticket) = (self.broker.clone(), self.ticket.clone());
        Arc::new(MemoryRenewer { broker, ticket, duration: self.duration })
    }

    async fn ack(mut self: Box<Self>, outbox: Vec<Publication>) -> Result<(), BrokerError> {
        let ticket = self.settle()?;
        let now = self.broker.now();
        pass(Point::AckCommitting);
        let acked = self.broker.open()?.ack(&ticket, outbox, now);
        pass(Point::AckCommitted);
        acked
    }

    async fn nack(mut self: Box<Self>, nack: Nack) -> Result<(), BrokerError> {
        let ticket = self.settle()?;
        let now = self.broker.now();
        self.broker.open()?.nack(&ticket, nack, now)
    }

    async fn reject(mut self: Box<Self>, evidence: Evidence) -> Result<(), BrokerError> {
        let ticket = self.settle()?;
        let now = self.broker.now();
        self.broker.open()?.reject(&ticket, evidence, now)
    }
}

impl Drop for MemoryLease {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let now = self.broker.now();
            // A lease that lapsed meanwhile needs no giving back.
            drop(self.broker.0.state.lock().nack(&ticket, Nack::give_back(), now));
        }
    }
}

#[async_trait]
impl Renewer for MemoryRenewer {
    async fn renew(&self) -> Result<(), BrokerError> {
        let ticket = self.ticket.as_ref().ok_or_else(|| BrokerError::stale("", ""))?;
        let now = self.broker.now();
        self.broker.open()?.renew(ticket, self.duration, now)
    }
}
