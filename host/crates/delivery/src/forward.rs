//! Forwarding: what a receiver published goes to another broker than the one that its messages come from.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wasmpost_msg::{Disposition, Publication, Reason, ReceiveError, chain};

use crate::broker::Broker;
use crate::error::BrokerErrorKind;

/// How long another broker may take to confirm.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(20);

/// The broker for the outbox of a receiver. Publishing is confirmed before the source is acknowledged: a crash in
/// between delivers the source again, and what is published again has the same ids.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
/// use wasmpost_delivery::{Forward, QueueServerOptions};
///
/// let other = Arc::new(MemoryBroker::new(MemoryOptions::default()));
/// let options = QueueServerOptions { forward: Some(Forward::to(other)), ..QueueServerOptions::default() };
/// # drop(options);
/// ```
#[derive(Clone)]
pub struct Forward {
    /// The broker that the outbox is published to.
    pub broker: Arc<dyn Broker>,
}

impl Forward {
    /// To `broker`.
    pub fn to(broker: Arc<dyn Broker>) -> Self {
        Self { broker }
    }

    /// Publishes an outbox. If the other broker cannot take a message now, the source stays in its queue, uncounted; if
    /// it never will, the source fails.
    pub(crate) async fn publish(&self, outbox: Vec<Publication>) -> Result<(), ReceiveError> {
        if outbox.is_empty() {
            return Ok(());
        }
        let confirmed = tokio::time::timeout(CONFIRM_TIMEOUT, self.broker.publish(outbox)).await;
        let (disposition, reason, text) = match confirmed {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) if error.kind() == BrokerErrorKind::Invalid => {
                (Disposition::Retry, Reason::Failed, format!("other broker refused the messages: {}", chain(&error)))
            }
            Ok(Err(error)) if error.kind() == BrokerErrorKind::Limit => (
                Disposition::Retry,
                Reason::PublishLimit,
                format!("other broker has no room for it: {}", chain(&error)),
            ),
            Ok(Err(error)) => (
                Disposition::GiveBack,
                Reason::HostBusy,
                format!("published messages were not forwarded: {}", chain(&error)),
            ),
            Err(_) => {
                let text = format!("other broker confirmed nothing for {CONFIRM_TIMEOUT:?}");
                (Disposition::GiveBack, Reason::HostBusy, text)
            }
        };
        Err(ReceiveError::new(disposition, reason, text))
    }
}

impl fmt::Debug for Forward {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Forward").finish_non_exhaustive()
    }
}
