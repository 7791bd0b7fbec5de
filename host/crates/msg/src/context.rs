//! The delivery around a message: who it is, which attempt, what it published, what it used.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{Outbox, OutboxTopic};

/// What travels with a message through every decorator to the receiver. Clones share one delivery.
#[derive(Debug, Clone)]
pub struct Context(Arc<Delivery>);

#[derive(Debug)]
struct Delivery {
    id: String,
    attempt: u32,
    outbox: Outbox,
    cancelled: CancellationToken,
    usage: Mutex<Usage>,
}

/// What one delivery used, as far as the receiver can tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time that the guest burnt.
    pub cpu: Duration,
    /// Time from the start of the call to its end.
    pub wall: Duration,
    /// The most linear memory that the guest held, in bytes.
    pub memory_peak_bytes: u64,
    /// Bodies and attributes of what the guest published, in bytes.
    pub published_bytes: u64,
    /// The component that served the delivery, where it was one.
    pub component: Option<Arc<Component>>,
}

/// Which component served a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// The digest of the file: `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// The version that the component says of itself, if it says one.
    pub version: Option<String>,
}

impl Context {
    /// The context of the delivery of message `id`, whose `attempt` starts at 1. The receiver's work should end when
    /// `cancelled` is.
    pub fn new(id: impl Into<String>, attempt: u32, cancelled: CancellationToken) -> Self {
        let (outbox, usage) = (Outbox::default(), Mutex::default());
        Self(Arc::new(Delivery { id: id.into(), attempt, outbox, cancelled, usage }))
    }

    /// The id of the message: the same on every delivery of it.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// 1 on the first delivery.
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// What the receiver published so far. It is forwarded when the receiver returned ok, and dropped otherwise.
    pub fn outbox(&self) -> &Outbox {
        &self.0.outbox
    }

    /// A topic whose messages go to this delivery's outbox.
    pub fn topic(&self, name: impl Into<String>) -> OutboxTopic {
        OutboxTopic::new(self.clone(), name.into())
    }

    /// Cancelled when the server gave up waiting for this delivery.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.0.cancelled
    }

    /// What the delivery used so far.
    pub fn usage(&self) -> Usage {
        self.0.usage.lock().clone()
    }

    /// Records what the delivery used.
    pub fn set_usage(&self, usage: Usage) {
        *self.0.usage.lock() = usage;
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::new("", 1, CancellationToken::new())
    }
}
