//! The context of a delivery: its message's id, the attempt, the messages that it published, the resources that it
//! used.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::bounds::BODY_BYTES_MAX;
use crate::error::{Disposition, Reason, ReceiveError};
use crate::outbox::{Outbox, Publication};
use crate::topic::{BufferedWriter, MessageWriter, Topic};

/// The context of a delivery, which goes with its message through every decorator to the receiver. Clones share one
/// delivery.
///
/// # Examples
///
/// ```
/// use tokio_util::sync::CancellationToken;
/// use wasmpost_msg::{Context, Disposition, Reason};
///
/// let context = Context::new("message-1", 2, CancellationToken::new());
/// assert_eq!((context.id(), context.attempt()), ("message-1", 2));
///
/// context.cancel(Reason::LeaseExpired);
/// assert!(context.cancelled().is_cancelled());
/// assert_eq!(context.interruption().disposition(), Disposition::GiveBack);
/// ```
#[derive(Debug, Clone)]
pub struct Context(Arc<ContextState>);

#[derive(Debug)]
struct ContextState {
    id: String,
    attempt: u32,
    outbox: Outbox,
    cancelled: CancellationToken,
    /// The reason of the cancellation; a shutdown unless another is given.
    cause: OnceLock<Reason>,
    stopping: CancellationToken,
    usage: Mutex<Usage>,
}

/// The resources that a delivery used, as far as the receiver can tell.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use wasmpost_msg::{Component, Context, Usage};
///
/// // A receiver tells what it used; the server adds it to the log and to dead letters.
/// let component = Component { digest: format!("sha256:{:064}", 0), version: Some("1.2.0".into()) };
/// let context = Context::default();
/// context.set_usage(Usage {
///     cpu: Duration::from_micros(300),
///     component: Some(Arc::new(component)),
///     ..Usage::default()
/// });
/// assert_eq!(context.usage().cpu.as_micros(), 300);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time that the guest used.
    pub cpu: Duration,
    /// Time from the start of the call to its end.
    pub wall: Duration,
    /// The most linear memory that the guest held, in bytes.
    pub memory_peak_bytes: u64,
    /// Bodies and attributes of what the guest published, in bytes.
    pub published_bytes: u64,
    /// The work of the host in calls of the guest: the calls, and the bytes and elements of lists that it took from the
    /// guest or handed to it.
    pub host_work: u64,
    /// The component that served the delivery, where it was one.
    pub component: Option<Arc<Component>>,
}

/// The component that served a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// The digest of the file: `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// The version that the component says of itself, if it says one.
    pub version: Option<String>,
}

/// A topic that writes to the outbox of a delivery.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::{Context, MessageWriter, OutboxTopic, Topic};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let context = Context::default();
/// let topic: OutboxTopic = context.topic("mails");
/// topic.new_writer().close().await?;
/// drop(topic.new_writer()); // Dropped unclosed: nothing is published.
/// assert_eq!(context.outbox().take()[0].topic, "mails");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct OutboxTopic {
    context: Context,
    name: String,
}

impl Context {
    /// The context of the delivery of message `id`, whose `attempt` starts at 1. The receiver's work should end when
    /// `cancelled` is.
    pub fn new(id: impl Into<String>, attempt: u32, cancelled: CancellationToken) -> Self {
        Self::of_server(id, attempt, cancelled, CancellationToken::new())
    }

    /// The same, of a server that is told to end: once `stopping` is cancelled, a receiver that still waits for room to
    /// begin gives its message back.
    pub fn of_server(
        id: impl Into<String>,
        attempt: u32,
        cancelled: CancellationToken,
        stopping: CancellationToken,
    ) -> Self {
        Self(Arc::new(ContextState {
            id: id.into(),
            attempt,
            outbox: Outbox::default(),
            cancelled,
            cause: OnceLock::new(),
            stopping,
            usage: Mutex::default(),
        }))
    }

    /// The id of the message: the same on every delivery of it.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// 1 on the first delivery.
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// The messages that the receiver published so far. They are forwarded when the receiver returned ok, and dropped
    /// otherwise.
    pub fn outbox(&self) -> &Outbox {
        &self.0.outbox
    }

    /// A topic whose messages go to this delivery's outbox.
    pub fn topic(&self, name: impl Into<String>) -> OutboxTopic {
        OutboxTopic { context: self.clone(), name: name.into() }
    }

    /// Cancelled when the server gave up waiting for this delivery.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.0.cancelled
    }

    /// Cancels the delivery for `reason`; the first one wins.
    pub fn cancel(&self, reason: Reason) {
        // A second reason comes too late: the delivery ends for the first.
        let _ = self.0.cause.set(reason);
        self.0.cancelled.cancel();
    }

    /// The error of a delivery that was cancelled, with the reason. It is given back uncounted.
    pub fn interruption(&self) -> ReceiveError {
        let reason = self.0.cause.get().copied().unwrap_or(Reason::Shutdown);
        let text = match reason {
            Reason::LeaseExpired => "lease was lost before the receiver was done",
            _ => "host shut down before the receiver was done",
        };
        ReceiveError::new(Disposition::GiveBack, reason, text)
    }

    /// Cancelled when the server stops: what has begun may go on to its end, and nothing begins any more.
    pub fn stopping(&self) -> &CancellationToken {
        &self.0.stopping
    }

    /// The error of a delivery that had not begun when its server stopped. It is given back uncounted.
    pub fn not_begun(&self) -> ReceiveError {
        ReceiveError::new(Disposition::GiveBack, Reason::Shutdown, "host shut down before the receiver began")
    }

    /// The resources that the delivery used so far.
    pub fn usage(&self) -> Usage {
        self.0.usage.lock().clone()
    }

    /// Records the resources that the delivery used.
    pub fn set_usage(&self, usage: Usage) {
        *self.0.usage.lock() = usage;
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::new("", 1, CancellationToken::new())
    }
}

impl Topic for OutboxTopic {
    fn new_writer(&self) -> Box<dyn MessageWriter> {
        let topic = self.clone();
        Box::new(BufferedWriter::new(BODY_BYTES_MAX, move |attributes, body, delay| {
            let topic = topic.clone();
            async move {
                let publication = Publication { delay, ..Publication::new(topic.name, attributes, body) };
                topic.context.outbox().push(publication);
                Ok(())
            }
        }))
    }
}
