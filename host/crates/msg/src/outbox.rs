//! The outbox: messages that a receiver published, held until it succeeds.

use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::attributes::Attributes;

/// The attribute that carries a message's ordering key when nothing else does.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::{Attributes, ORDERING_KEY, Publication};
///
/// let attributes = Attributes::from_iter([(ORDERING_KEY, "customer-7")]);
/// assert_eq!(Publication::new("orders", attributes, "").key.as_deref(), Some("customer-7"));
/// ```
pub const ORDERING_KEY: &str = "Ordering-Key";

/// A message on its way to a topic.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use wasmpost_msg::{Attributes, Publication};
///
/// let attributes = Attributes::from_iter([("Ordering-Key", "customer-7")]);
/// let publication = Publication {
///     delay: Duration::from_secs(5),
///     ttl: Some(Duration::from_secs(3600)),
///     id: Some("order-1".into()),
///     ..Publication::new("orders", attributes, "{}")
/// };
/// assert_eq!(publication.key.as_deref(), Some("customer-7"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Publication {
    /// The topic to write to.
    pub topic: String,
    /// The metadata.
    pub attributes: Attributes,
    /// The content.
    pub body: Bytes,
    /// Not to be delivered before this time has passed.
    pub delay: Duration,
    /// The id; the broker makes one where there is none. Two publications with one id within the broker's window are
    /// one message.
    pub id: Option<String>,
    /// Messages with the same key are delivered one at a time, in publish order.
    pub key: Option<String>,
    /// Not to be delivered after this time has passed.
    pub ttl: Option<Duration>,
    /// How many receivers the message came through. Guests cannot set it.
    pub hops: u32,
}

/// Messages that one delivery published. Safe to use from several tasks.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::{Attributes, Outbox, Publication};
///
/// let outbox = Outbox::default();
/// outbox.push(Publication::new("a", Attributes::new(), "first"));
/// outbox.push(Publication::new("b", Attributes::new(), "second"));
/// let topics: Vec<_> = outbox.take().into_iter().map(|publication| publication.topic).collect();
/// assert_eq!(topics, ["a", "b"]);
/// assert!(outbox.is_empty());
/// ```
#[derive(Debug, Default)]
pub struct Outbox(Mutex<Vec<Publication>>);

impl Publication {
    /// A publication of `body` with `attributes` to `topic`. The attribute `Ordering-Key`, where there is one, becomes
    /// the ordering key.
    pub fn new(topic: impl Into<String>, attributes: Attributes, body: impl Into<Bytes>) -> Self {
        let key = attributes.get(ORDERING_KEY).filter(|key| !key.is_empty()).map(str::to_owned);
        Self { topic: topic.into(), attributes, body: body.into(), key, ..Self::default() }
    }

    /// The bytes of body and attributes.
    pub fn bytes(&self) -> usize {
        self.body.len() + self.attributes.bytes()
    }
}

impl Outbox {
    /// Adds a message behind those that are there.
    pub fn push(&self, publication: Publication) {
        self.0.lock().push(publication);
    }

    /// Takes all messages out, in the order in which they were published.
    pub fn take(&self) -> Vec<Publication> {
        std::mem::take(&mut self.0.lock())
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether there are no messages.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
