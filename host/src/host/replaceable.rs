//! A receiver whose component can be replaced while it receives.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::RwLock;
use wasmpost_msg::{Batch, Message, ReceiveError, Receiver};

/// Hands each message to the current receiver. Messages in flight end with the receiver that they began with.
pub(super) struct Replaceable(RwLock<Arc<dyn Receiver>>);

impl Replaceable {
    pub(super) fn new(receiver: Arc<dyn Receiver>) -> Self {
        Self(RwLock::new(receiver))
    }

    pub(super) fn replace(&self, receiver: Arc<dyn Receiver>) {
        *self.0.write() = receiver;
    }
}

#[async_trait]
impl Receiver for Replaceable {
    async fn receive(&self, message: Message) -> Result<(), ReceiveError> {
        let receiver = Arc::clone(&self.0.read());
        receiver.receive(message).await
    }

    async fn receive_batch(&self, batch: Batch) -> Result<Vec<Result<(), ReceiveError>>, ReceiveError> {
        let receiver = Arc::clone(&self.0.read());
        receiver.receive_batch(batch).await
    }
}
