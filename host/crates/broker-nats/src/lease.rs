//! Leases as their holders see them.

use std::sync::Arc;

use async_trait::async_trait;
use wasmpost_delivery::{BrokerError, Evidence, Lease, Nack, Renewer};
use wasmpost_msg::{Publication, chain};

use crate::hold::Hold;

/// The lease of one delivery, in the hands of its holder.
pub(crate) struct NatsLease(pub(crate) Arc<Hold>);

struct NatsRenewer(Arc<Hold>);

impl NatsLease {
    /// Notes the result of settling: a lease is settled once, whatever the result.
    fn settled(&self, result: Result<(), BrokerError>) -> Result<(), BrokerError> {
        self.0.end();
        result
    }
}

#[async_trait]
impl Lease for NatsLease {
    fn renewer(&self) -> Arc<dyn Renewer> {
        Arc::new(NatsRenewer(Arc::clone(&self.0)))
    }

    async fn ack(self: Box<Self>, outbox: Vec<Publication>) -> Result<(), BrokerError> {
        self.0.link.check()?;
        self.0.settle()?;
        let result = self.0.ack(outbox).await;
        self.settled(result)
    }

    async fn nack(self: Box<Self>, nack: Nack) -> Result<(), BrokerError> {
        self.0.link.check()?;
        self.0.settle()?;
        let result = self.0.put_back(nack).await;
        self.settled(result)
    }

    async fn reject(self: Box<Self>, evidence: Evidence) -> Result<(), BrokerError> {
        self.0.link.check()?;
        self.0.settle()?;
        let result = self.0.bury(evidence).await;
        self.settled(result)
    }
}

impl Drop for NatsLease {
    fn drop(&mut self) {
        let hold = &self.0;
        if hold.settle().is_err() {
            hold.end();
            return;
        }
        let hold = Arc::clone(hold);
        let runtime = hold.link.runtime.clone();
        runtime.spawn(async move {
            if let Err(error) = hold.put_back(Nack::give_back()).await {
                tracing::warn!(
                    queue = %hold.queue, id = %hold.envelope.id, error = %chain(&error),
                    "lease could not be given back; it will lapse"
                );
            }
            hold.end();
        });
    }
}

#[async_trait]
impl Renewer for NatsRenewer {
    async fn renew(&self) -> Result<(), BrokerError> {
        self.0.link.check()?;
        self.0.renew().await
    }
}
