//! Observers: told how each delivery of a server ended.

use std::fmt;
use std::time::Duration;

use wasmpost_msg::{Publication, ReceiveError, Usage};

use crate::retry::Verdict;

/// Told how each delivery of a server ended.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use wasmpost_delivery::{Observer, QueueServerOptions, Settled, Verdict};
///
/// /// Counts the messages that were processed.
/// #[derive(Debug, Default)]
/// struct Processed(AtomicU64);
///
/// impl Observer for Processed {
///     fn settled(&self, settled: &Settled<'_>) {
///         if settled.verdict == Verdict::Ack {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// let options = QueueServerOptions { observer: Some(Arc::new(Processed::default())), ..QueueServerOptions::default() };
/// # drop(options);
/// ```
pub trait Observer: fmt::Debug + Send + Sync {
    /// Takes the outcome of a delivery once its broker has confirmed it. It is called where messages are settled and must
    /// not wait.
    fn settled(&self, settled: &Settled<'_>);

    /// Whether it looks at the messages that were published; keeping them for it costs a copy of each.
    fn wants_published(&self) -> bool {
        true
    }
}

/// The outcome of a delivery.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Settled<'a> {
    /// The queue.
    pub queue: &'a str,
    /// The name of the receiver.
    pub receiver: &'a str,
    /// The id of the message.
    pub id: &'a str,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// How the delivery was settled.
    pub verdict: Verdict,
    /// The error of the receiver, if the message was not processed.
    pub error: Option<&'a ReceiveError>,
    /// The messages that were published with the acknowledgement. Those that went to another broker are not among them, and
    /// none are where the observer does not want them.
    pub published: &'a [Publication],
    /// How many messages were published, those that went to another broker included.
    pub published_messages: usize,
    /// The time from the start of the attempt until it was settled.
    pub took: Duration,
    /// The resources that the delivery used.
    pub usage: &'a Usage,
}
