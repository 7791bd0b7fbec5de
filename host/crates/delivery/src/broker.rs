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
#[async_trait]
pub trait Broker: Send + Sync {
    /// What the broker does by itself.
    fn capabilities(&self) -> Capabilities;

    /// The queue of this name, made where there is none. From now on it gets the messages of its topics, and no other
    /// topic's that it had before. Messages that wait under a topic which no queue took from are moved to it.
    async fn queue(&self, spec: QueueSpec) -> Result<Arc<dyn Queue>, BrokerError>;

    /// Stores messages: all of them, or none and an error. When it returns they survive what the broker says they
    /// survive.
    async fn publish(&self, publications: Vec<Publication>) -> Result<Vec<Receipt>, BrokerError>;

    /// From now on, refuses what would give a tenant more than its quota. Tenants that are not named, and
    /// what belongs to none, have [`TenantQuota::default`].
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

    /// What lies in each queue, by name.
    async fn stats(&self) -> Result<Vec<QueueStats>, BrokerError>;

    /// The dead letters, where the broker lets one look at them.
    fn dead_letters(&self) -> Option<&dyn DeadLetters>;

    /// Stores what is still to be stored and takes no more calls. Leases that are held are given back.
    async fn close(&self) -> Result<(), BrokerError>;
}

/// Where deliveries are pulled from.
#[async_trait]
pub trait Queue: Send + Sync {
    /// The name.
    fn name(&self) -> &str;

    /// How long a lease lasts unless it is renewed.
    fn lease(&self) -> Duration;

    /// Leases at least one delivery and at most `max`, waiting until there is one. Dropping the future loses nothing.
    async fn pull(&self, max: usize) -> Result<Vec<Delivery>, BrokerError>;

    /// Leases at most `max` deliveries without waiting for anything: none where there are none, or where the broker would
    /// have to wait to know. Nobody is woken for them, so it is what a busy server asks first.
    fn pull_now(&self, max: usize) -> Vec<Delivery> {
        let _ = max;
        Vec::new()
    }

    /// Whether its broker has room for what is to be published, as far as it can tell at once. What it will never take
    /// answers with an error of kind `Invalid`.
    fn room(&self, publications: &[Publication]) -> Result<(), BrokerError> {
        let _ = publications;
        Ok(())
    }

    /// Waits until nothing in the queue is ready, delayed or leased.
    async fn drained(&self) -> Result<(), BrokerError>;
}

/// What a broker does by itself. What it does not is completed by the server.
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
    /// What `stats` says is true at once, with messages that are ready, delayed and leased told apart.
    pub exact_stats: bool,
    /// Several processes can have one queue and get each of its messages once.
    pub shared: bool,
}

/// Which queue is wanted.
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

/// What lies in a queue.
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
    /// When the oldest message that is not dead was published.
    pub oldest: Option<Timestamp>,
    /// Messages acknowledged so far.
    pub acked: u64,
    /// Messages whose time to live ended before they were delivered.
    pub expired: u64,
    /// Messages in flight that were delivered before, where the broker tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redelivered: Option<u64>,
    /// Those who wait for messages now, in all processes, where the broker tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumers: Option<u64>,
}

impl Capabilities {
    /// Those of the embedded brokers, which do everything by themselves; one of them keeps messages on disk.
    pub fn embedded(durable: bool) -> Self {
        Self {
            durable,
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
}

impl QueueSpec {
    /// The queue `name`, which takes from the topic of its own name, with leases of 30 seconds.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), topics: Vec::new(), lease: Duration::from_secs(30) }
    }

    /// Says what is wrong with a name in it, if something is.
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
