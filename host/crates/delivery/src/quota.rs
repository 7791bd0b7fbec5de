//! Quotas: how many messages tenants may have at a broker, and in how many topics that no queue takes from.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parking_lot::RwLock;
use wasmpost_msg::{Publication, tenant_of};

use crate::error::{BrokerError, BrokerErrorKind};

/// How many topics that no queue takes from may hold messages of one tenant, unless its quota says otherwise.
pub const TOPICS_MAX: u64 = 1000;

/// The quota of a tenant at a broker.
///
/// # Examples
///
/// ```
/// use std::collections::BTreeMap;
///
/// use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
/// use wasmpost_delivery::{Broker, BrokerErrorKind, TenantQuota};
/// use wasmpost_msg::{Attributes, Publication};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = MemoryBroker::new(MemoryOptions::default());
/// broker.set_quotas(BTreeMap::from([("acme".to_owned(), TenantQuota::of_messages(1))])).await?;
/// let order = || vec![Publication::new("@acme/orders", Attributes::new(), "{}")];
/// broker.publish(order()).await?;
/// assert_eq!(broker.publish(order()).await.unwrap_err().kind(), BrokerErrorKind::Full);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TenantQuota {
    /// The most messages, dead letters included; as many as there is room for if none.
    pub messages: Option<u64>,
    /// The most topics that no queue takes from and that hold messages; [`TOPICS_MAX`] if none.
    pub topics: Option<u64>,
}

/// How many topics that no queue takes from hold messages of a tenant at a broker, and how many may.
///
/// # Examples
///
/// ```
/// use wasmpost_delivery::{Quotas, TOPICS_MAX, WaitingTopics};
///
/// let quotas = Quotas::default();
/// quotas.topic_waits("@acme/orders");
/// assert_eq!(quotas.waiting_topics("acme"), WaitingTopics { held: 1, max: TOPICS_MAX });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingTopics {
    /// How many do.
    pub held: u64,
    /// How many may.
    pub max: u64,
}

/// The quota and the usage of each tenant at a broker. A message belongs to the tenant whose topic it was written to,
/// and counts once, however many queues have it. Messages without a tenant are counted under an empty name.
///
/// # Examples
///
/// ```
/// use std::collections::BTreeMap;
///
/// use wasmpost_delivery::{BrokerErrorKind, Quotas, TenantQuota};
/// use wasmpost_msg::{Attributes, Publication};
///
/// let quotas = Quotas::default();
/// quotas.set(&BTreeMap::from([("acme".to_owned(), TenantQuota::of_messages(2))]));
/// let order = Publication::new("@acme/orders", Attributes::new(), "{}");
/// quotas.check(&[order.clone(), order.clone()])?;
/// quotas.count("@acme/orders", 2);
/// assert_eq!(quotas.check(&[order.clone()]).unwrap_err().kind(), BrokerErrorKind::Full);
/// let many = [order.clone(), order.clone(), order];
/// assert_eq!(quotas.check(&many).unwrap_err().kind(), BrokerErrorKind::Limit);
/// # Ok::<(), wasmpost_delivery::BrokerError>(())
/// ```
#[derive(Debug, Default)]
pub struct Quotas(RwLock<Counts>);

#[derive(Debug, Default)]
struct Counts {
    tenants: HashMap<String, Tenant>,
    /// How many queues take from a topic; none that no queue takes from.
    taken: HashMap<String, usize>,
}

#[derive(Debug, Default)]
struct Tenant {
    quota: TenantQuota,
    held: u64,
    /// Topics that no queue takes from and that hold messages.
    waiting: BTreeSet<String>,
}

/// The usage that a batch of publications would add to a tenant.
#[derive(Default)]
struct Wanted<'a> {
    messages: u64,
    topics: BTreeSet<&'a str>,
}

impl TenantQuota {
    /// At most this many messages.
    pub fn of_messages(max: u64) -> Self {
        Self { messages: Some(max), ..Self::default() }
    }

    /// Whether it asks for anything that a broker without quotas would not do.
    pub fn is_set(&self) -> bool {
        self.messages.is_some() || self.topics.is_some()
    }
}

impl Quotas {
    /// Replaces all quotas. The usage of tenants stays counted.
    pub fn set(&self, quotas: &BTreeMap<String, TenantQuota>) {
        let mut counts = self.0.write();
        counts.tenants.values_mut().for_each(|tenant| tenant.quota = TenantQuota::default());
        for (name, quota) in quotas {
            counts.tenants.entry(name.clone()).or_default().quota = *quota;
        }
        counts.tenants.retain(|_, tenant| !tenant.is_empty());
    }

    /// Whether there is room for what is to be published.
    ///
    /// # Errors
    ///
    /// `Full` where there may be room later, and `Limit` where waiting makes none.
    pub fn check(&self, publications: &[Publication]) -> Result<(), BrokerError> {
        let counts = self.0.read();
        if publications.iter().all(|publication| counts.bounds_nothing_of(&publication.topic)) {
            return Ok(());
        }
        let mut wanted: BTreeMap<&str, Wanted<'_>> = BTreeMap::new();
        for publication in publications {
            let topic = publication.topic.as_str();
            let of_tenant = wanted.entry(owner(topic)).or_default();
            of_tenant.messages += 1;
            if !counts.taken.contains_key(topic) {
                of_tenant.topics.insert(topic);
            }
        }
        let nothing = Tenant::default();
        wanted.into_iter().try_for_each(|(name, wanted)| {
            let tenant = counts.tenants.get(name).unwrap_or(&nothing);
            tenant.check(name, &wanted)
        })
    }

    /// Takes note of messages that were added to a topic, or taken out where there are fewer.
    pub fn count(&self, topic: &str, added: i64) {
        let Some(name) = tenant_of(topic) else { return };
        self.count_of(name, added);
    }

    /// The same for a tenant by its name.
    pub fn count_of(&self, name: &str, added: i64) {
        let mut counts = self.0.write();
        if let Some(tenant) = counts.tenants.get_mut(name) {
            tenant.held = tenant.held.saturating_add_signed(added);
            if tenant.is_empty() {
                counts.tenants.remove(name);
            }
        } else if let Ok(held @ 1..) = u64::try_from(added) {
            counts.tenants.entry(name.to_owned()).or_default().held = held;
        }
    }

    /// How many messages a tenant has.
    pub fn held(&self, name: &str) -> u64 {
        self.0.read().tenants.get(name).map_or(0, |tenant| tenant.held)
    }

    /// How many topics that no queue takes from hold messages of a tenant, and how many may. The name is empty for what
    /// belongs to none.
    pub fn waiting_topics(&self, name: &str) -> WaitingTopics {
        let counts = self.0.read();
        let (held, quota) =
            counts.tenants.get(name).map(|tenant| (tenant.waiting.len() as u64, tenant.quota)).unwrap_or_default();
        WaitingTopics { held, max: quota.topics.unwrap_or(TOPICS_MAX) }
    }

    /// Takes note that a topic which no queue takes from holds messages.
    pub fn topic_waits(&self, topic: &str) {
        let mut counts = self.0.write();
        counts.tenants.entry(owner(topic).to_owned()).or_default().waiting.insert(topic.to_owned());
    }

    /// Takes note that a topic which no queue takes from holds no messages any more.
    pub fn topic_is_empty(&self, topic: &str) {
        let mut counts = self.0.write();
        let name = owner(topic);
        let Some(tenant) = counts.tenants.get_mut(name) else { return };
        tenant.waiting.remove(topic);
        if tenant.is_empty() {
            counts.tenants.remove(name);
        }
    }

    /// Takes note that a queue takes from a topic.
    pub fn topic_is_taken(&self, topic: &str) {
        self.topic_is_empty(topic);
        *self.0.write().taken.entry(topic.to_owned()).or_default() += 1;
    }

    /// Takes note that a queue takes from a topic no longer.
    pub fn topic_is_left(&self, topic: &str) {
        let mut counts = self.0.write();
        if let Some(queues) = counts.taken.get_mut(topic) {
            *queues = queues.saturating_sub(1);
            if *queues == 0 {
                counts.taken.remove(topic);
            }
        }
    }

    /// Forgets what was noted of all topics.
    pub fn forget_topics(&self) {
        let mut counts = self.0.write();
        counts.taken.clear();
        counts.tenants.values_mut().for_each(|tenant| tenant.waiting.clear());
        counts.tenants.retain(|_, tenant| !tenant.is_empty());
    }
}

impl Counts {
    /// Whether no bound can be met by publishing to a topic.
    fn bounds_nothing_of(&self, topic: &str) -> bool {
        let has_quota = || self.tenants.get(owner(topic)).is_some_and(|tenant| tenant.quota.messages.is_some());
        self.taken.contains_key(topic) && !has_quota()
    }
}

impl Tenant {
    /// Whether there is nothing to be remembered of it.
    fn is_empty(&self) -> bool {
        self.held == 0 && self.waiting.is_empty() && self.quota == TenantQuota::default()
    }

    fn check(&self, name: &str, wanted: &Wanted<'_>) -> Result<(), BrokerError> {
        let held = self.held;
        let waiting = self.waiting.len() as u64;
        if let Some(max) = self.quota.messages.filter(|max| held + wanted.messages > *max) {
            if wanted.messages > max {
                let wanted = wanted.messages;
                let context = format!("tenant {name:?} may have {max} messages; {wanted} at once never have room");
                return Err(BrokerError::new(BrokerErrorKind::Limit, context).of_quota());
            }
            let context =
                format!("tenant {name:?} has {held} messages, dead letters included, of the {max} that it may have");
            return Err(BrokerError::new(BrokerErrorKind::Full, context).of_quota());
        }
        let mut added = wanted.topics.iter().filter(|topic| !self.waiting.contains(**topic));
        let max = self.quota.topics.unwrap_or(TOPICS_MAX);
        let Some(topic) = added.nth(usize::try_from(max.saturating_sub(waiting)).unwrap_or(usize::MAX)) else {
            return Ok(());
        };
        let whose = if name.is_empty() { "there are".to_owned() } else { format!("tenant {name:?} has") };
        let context = format!(
            "topic {topic:?}: {whose} messages in {waiting} topics that no queue takes from, and {max} are the most; \
             have a queue take from them"
        );
        Err(BrokerError::new(BrokerErrorKind::Limit, context).of_quota())
    }
}

/// The tenant that a topic belongs to, empty where it belongs to none.
fn owner(topic: &str) -> &str {
    tenant_of(topic).unwrap_or_default()
}
