//! Brokers and queues.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use wasmpost_msg::{Publication, topic_name_fault};

use crate::dead_letter::DeadLetters;
use crate::error::{BrokerError, BrokerErrorKind};
use crate::lease::Delivery;
use crate::quota::{TenantQuota, WaitingTopics};
use crate::timestamp::Timestamp;

/// Stores messages and hands them out.
///
/// # Examples
///
/// ```
/// use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
/// use wasmpost_delivery::{Broker, QueueSpec};
/// use wasmpost_msg::{Attributes, Publication};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = MemoryBroker::new(MemoryOptions::default());
/// let queue = broker.queue(QueueSpec::new("orders")).await?;
/// let receipts = broker.publish(vec![Publication::new("orders", Attributes::new(), "one")]).await?;
///
/// for delivery in queue.pull(10).await? {
///     assert_eq!((&delivery.id, &*delivery.body), (&receipts[0].id, &b"one"[..]));
///     delivery.lease.ack(Vec::new()).await?;
/// }
/// assert_eq!(broker.stats().await?[0].acked, 1);
/// broker.close().await?;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Broker: Send + Sync {
    /// The features of the broker.
    fn capabilities(&self) -> Capabilities;

    /// The queue of this name, made where there is none. From now on it gets the messages of its topics, and no other
    /// topic's that it had before. Messages that wait under a topic which no queue took from are moved to it.
    ///
    /// # Errors
    ///
    /// `Invalid` for a name or time that the broker does not take, `Unavailable` where it cannot be reached now,
    /// `Closed` after `close`.
    async fn queue(&self, spec: QueueSpec) -> Result<Arc<dyn Queue>, BrokerError>;

    /// Stores messages: all of them, or none and an error. When it returns they survive what the broker says they
    /// survive.
    ///
    /// # Errors
    ///
    /// `Invalid` for a publication that no queue would take, which is named; `Full` where there is no room now, and
    /// `Limit` where a quota never has any; `Unavailable` where the broker cannot be reached or confirms nothing in
    /// time; `Closed` after `close`, or where the broker cannot go on. With the last two it may be unknown whether the
    /// messages were stored: publish them again under the same ids.
    async fn publish(&self, publications: Vec<Publication>) -> Result<Vec<Receipt>, BrokerError>;

    /// From now on, refuses what would give a tenant more than its quota. Tenants that are not named, and
    /// what belongs to none, have [`TenantQuota::default`].
    ///
    /// # Errors
    ///
    /// `Unsupported` where the broker keeps no quotas and one is asked for, `Closed` after `close`.
    async fn set_quotas(&self, quotas: BTreeMap<String, TenantQuota>) -> Result<(), BrokerError> {
        if !quotas.values().any(TenantQuota::is_set) {
            return Ok(());
        }
        Err(BrokerError::new(BrokerErrorKind::Unsupported, "this broker keeps no quotas of tenants"))
    }

    /// How many topics that no queue takes from hold messages of a tenant, and how many may; none where there is no such
    /// bound. The name is empty for what belongs to no tenant.
    fn waiting_topics(&self, _tenant: &str) -> Option<WaitingTopics> {
        None
    }

    /// The numbers of messages in each queue, by name.
    ///
    /// # Errors
    ///
    /// `Unavailable` where the broker cannot be reached now, `Closed` after `close`.
    async fn stats(&self) -> Result<Vec<QueueStats>, BrokerError>;

    /// How many transactions it committed so far, where it commits by itself.
    fn transactions(&self) -> Option<u64> {
        None
    }

    /// How long a loop that owns what is stored has been at one thing; no time while it waits for something to do.
    fn stands_still_for(&self) -> Duration {
        Duration::ZERO
    }

    /// The dead letters, where the broker lets one look at them.
    fn dead_letters(&self) -> Option<&dyn DeadLetters>;

    /// Stores what is still to be stored and takes no more calls. Leases that are held are given back.
    ///
    /// # Errors
    ///
    /// Of any kind, where something could not be stored or given back. Nothing that was confirmed is lost by it.
    async fn close(&self) -> Result<(), BrokerError>;
}

/// A queue, from which deliveries are pulled.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
/// use wasmpost_delivery::{Broker, Nack, Queue, QueueSpec};
/// use wasmpost_msg::{Attributes, Publication};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = MemoryBroker::new(MemoryOptions::default());
/// let queue: Arc<dyn Queue> = broker.queue(QueueSpec::new("orders")).await?;
/// assert!(queue.pull_now(1).is_empty());
/// broker.publish(vec![Publication::new("orders", Attributes::new(), "one")]).await?;
///
/// let first = queue.pull(1).await?.remove(0);
/// first.lease.nack(Nack::give_back()).await?;
/// let second = queue.pull(1).await?.remove(0);
/// assert_eq!((second.deliveries, second.failures), (2, 0));
/// second.lease.ack(Vec::new()).await?;
/// queue.drained().await?;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Queue: Send + Sync {
    /// The name.
    fn name(&self) -> &str;

    /// How long a lease lasts unless it is renewed.
    fn lease(&self) -> Duration;

    /// Leases at least one delivery and at most `max`, waiting until there is one. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// `Unavailable` where the broker cannot be reached now: pull again later. `Closed` after `close`, which ends pulls
    /// that wait.
    async fn pull(&self, max: usize) -> Result<Vec<Delivery>, BrokerError>;

    /// Leases at most `max` deliveries without waiting for anything: none where there are none, or where the broker would
    /// have to wait to know. Nobody is woken for them, so it is what a busy server asks first.
    fn pull_now(&self, max: usize) -> Vec<Delivery> {
        let _ = max;
        Vec::new()
    }

    /// Whether its broker has room for what is to be published, as far as it can tell at once.
    ///
    /// # Errors
    ///
    /// `Full` where there may be room later, `Limit` where waiting makes none, and `Invalid` for what it will never take.
    fn room(&self, publications: &[Publication]) -> Result<(), BrokerError> {
        let _ = publications;
        Ok(())
    }

    /// Waits until nothing in the queue is ready, delayed or leased.
    ///
    /// # Errors
    ///
    /// `Unavailable` where the broker cannot be asked now, `Closed` after `close`.
    async fn drained(&self) -> Result<(), BrokerError>;
}

/// The features of a broker. The server adds those that it lacks.
///
/// # Examples
///
/// ```
/// use wasmpost_delivery::Capabilities;
///
/// // A broker that keeps messages on disk, and takes no delays.
/// let capabilities = Capabilities { delays: false, ..Capabilities::embedded() };
/// assert!(capabilities.durable && capabilities.ordering_keys && !capabilities.delays);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Confirmed messages survive the end of the process.
    pub durable: bool,
    /// Messages with one ordering key are delivered one at a time, in publish order.
    pub ordering_keys: bool,
    /// A message can be published to be delivered later.
    pub delays: bool,
    /// Publications with one id within the window are one message.
    pub deduplication: bool,
    /// The id of a message that was purged from the dead letters can be published again at once.
    pub purge_forgets_ids: bool,
    /// Publishing the outbox and acknowledging is one transaction.
    pub transactional_outbox: bool,
    /// Messages can expire.
    pub ttl: bool,
    /// Tenants can have quotas of messages.
    pub quotas: bool,
    /// A message that fails holds up those behind it with its own ordering key, and no others.
    pub key_isolation: bool,
    /// A lease that is not renewed lapses while its holder lives, so that another gets the message.
    pub lapsing_leases: bool,
    /// `stats` is exact at once and distinguishes ready, delayed and leased messages.
    pub exact_stats: bool,
    /// Several processes can have one queue and get each of its messages once.
    pub shared: bool,
}

/// The description of a queue.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use wasmpost_delivery::QueueSpec;
///
/// let spec = QueueSpec {
///     topics: vec!["orders.new".into(), "orders.changed".into()],
///     lease: Duration::from_secs(60),
///     ..QueueSpec::new("orders")
/// };
/// assert_eq!(spec.all_topics(), ["orders", "orders.new", "orders.changed"]);
/// assert!(spec.check().is_ok());
/// assert!(QueueSpec::new("two words").check().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSpec {
    /// The name.
    pub name: String,
    /// The topics that it takes from beside the topic of its own name, which it always takes from.
    pub topics: Vec<String>,
    /// How long a lease lasts unless it is renewed.
    pub lease: Duration,
}

/// That a message was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The id of the message.
    pub id: String,
    /// Whether a message with this id was stored before, so that nothing was added.
    pub duplicate: bool,
}

/// The numbers of messages in a queue.
///
/// # Examples
///
/// ```
/// use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
/// use wasmpost_delivery::{Broker, QueueStats, Receipt};
/// use wasmpost_msg::{Attributes, Publication};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = MemoryBroker::new(MemoryOptions::default());
/// let order = Publication { id: Some("order-1".into()), ..Publication::new("orders", Attributes::new(), "{}") };
/// let first: Vec<Receipt> = broker.publish(vec![order.clone()]).await?;
/// let second = broker.publish(vec![order]).await?;
/// assert!(!first[0].duplicate && second[0].duplicate);
///
/// let stats: Vec<QueueStats> = broker.stats().await?;
/// assert_eq!((stats[0].queue.as_str(), stats[0].ready), ("orders", 1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStats {
    /// The name of the queue.
    pub queue: String,
    /// Messages that could be delivered now, or when the message before them with the same key has ended.
    pub ready: u64,
    /// Messages that are not due yet.
    pub delayed: u64,
    /// Messages in flight.
    pub leased: u64,
    /// Dead letters.
    pub dead: u64,
    /// The time at which the oldest message that is not dead was published.
    pub oldest: Option<Timestamp>,
    /// The time at which the oldest message became due that is due and in nobody's hands, where the broker tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_due: Option<Timestamp>,
    /// Messages acknowledged so far.
    pub acked: u64,
    /// Messages whose time to live ended before they were delivered.
    pub expired: u64,
    /// Messages in flight that were delivered before, where the broker tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redelivered: Option<u64>,
    /// The number of consumers that wait for messages now, in all processes, where the broker tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumers: Option<u64>,
}

impl Capabilities {
    /// Those of a broker in the process of the host that keeps messages on disk and does everything by itself.
    pub fn embedded() -> Self {
        Self {
            durable: true,
            ordering_keys: true,
            delays: true,
            deduplication: true,
            purge_forgets_ids: true,
            transactional_outbox: true,
            ttl: true,
            quotas: true,
            key_isolation: true,
            lapsing_leases: true,
            exact_stats: true,
            shared: false,
        }
    }

    /// Those of a broker that keeps messages in memory, and otherwise does all that an [embedded](Self::embedded) one
    /// does.
    pub fn in_memory() -> Self {
        Self { durable: false, ..Self::embedded() }
    }
}

impl QueueSpec {
    /// The queue `name`, which takes from the topic of its own name, with leases of 30 seconds.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), topics: Vec::new(), lease: Duration::from_secs(30) }
    }

    /// Says what is wrong with a name in it, if something is.
    ///
    /// # Errors
    ///
    /// `Invalid`, with the name that no queue or topic can have.
    pub fn check(&self) -> Result<(), BrokerError> {
        match self.all_topics().iter().find_map(|name| topic_name_fault(name)) {
            Some(fault) => Err(BrokerError::new(BrokerErrorKind::Invalid, fault)),
            None => Ok(()),
        }
    }

    /// All topics that the queue takes from, that of its own name first, each once.
    pub fn all_topics(&self) -> Vec<String> {
        let mut topics = vec![self.name.clone()];
        for topic in &self.topics {
            if !topics.contains(topic) {
                topics.push(topic.clone());
            }
        }
        topics
    }
}
