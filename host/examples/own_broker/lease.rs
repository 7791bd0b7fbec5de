//! The right to settle a delivery.

use std::sync::Arc;

use async_trait::async_trait;
use wasmpost::delivery::{Broker, BrokerError, Evidence, Lease, Nack, Renewer};
use wasmpost::msg::Publication;

use crate::fifo::Fifo;
use crate::queue::Stored;

/// A message that was handed out. Dropped unsettled, it goes back.
pub(crate) struct FifoLease {
    broker: Fifo,
    stored: Option<Stored>,
}

/// Leases of this broker never lapse.
struct Endless;

impl FifoLease {
    pub(crate) fn new(broker: Fifo, stored: Stored) -> Self {
        Self { broker, stored: Some(stored) }
    }
}

#[async_trait]
impl Lease for FifoLease {
    fn renewer(&self) -> Arc<dyn Renewer> {
        Arc::new(Endless)
    }

    async fn ack(mut self: Box<Self>, outbox: Vec<Publication>) -> Result<(), BrokerError> {
        self.broker.publish(outbox).await?;
        self.stored = None;
        self.broker.held.send_modify(|held| *held -= 1);
        Ok(())
    }

    async fn nack(mut self: Box<Self>, nack: Nack) -> Result<(), BrokerError> {
        if let Some(stored) = &mut self.stored {
            stored.failures += u32::from(nack.attempt.is_some());
        }
        // Dropping it puts the message back. This broker cannot wait, so that it is delivered again at once.
        Ok(())
    }

    async fn reject(mut self: Box<Self>, _: Evidence) -> Result<(), BrokerError> {
        self.stored = None;
        self.broker.held.send_modify(|held| *held -= 1);
        Ok(())
    }
}

impl Drop for FifoLease {
    fn drop(&mut self) {
        if let Some(stored) = self.stored.take() {
            self.broker.ready.lock().push_back(stored);
            self.broker.held.send_modify(|_| {});
        }
    }
}

#[async_trait]
impl Renewer for Endless {
    async fn renew(&self) -> Result<(), BrokerError> {
        Ok(())
    }
}
