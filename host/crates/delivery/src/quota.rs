//! Quotas: how many messages tenants may have at a broker.

use std::collections::{BTreeMap, HashMap};

use parking_lot::RwLock;
use wasmpost_msg::{Publication, tenant_of};

use crate::{BrokerError, BrokerErrorKind};

/// How many topics that no queue takes from may hold messages of one tenant, unless its quota says otherwise.
pub const TOPICS_MAX: u64 = 1000;

/// What one tenant may have at a broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TenantQuota {
    /// The most messages, dead letters included; as many as there is room for if none.
    pub messages: Option<u64>,
    /// The most topics that no queue takes from and that hold messages; [`TOPICS_MAX`] if none.
    pub topics: Option<u64>,
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

/// How many messages each tenant may have, dead letters included, and how many it has. A message is the tenant's whose
/// topic it was written to.
#[derive(Debug, Default)]
pub struct Quotas(RwLock<HashMap<String, Quota>>);

#[derive(Debug, Clone, Copy, Default)]
struct Quota {
    max: u64,
    held: u64,
}

impl Quotas {
    /// Replaces all quotas; `held` tells how many messages there are, by topic.
    pub fn set(&self, quotas: &BTreeMap<String, TenantQuota>, held: impl IntoIterator<Item = (String, u64)>) {
        let quota =
            |(tenant, quota): (&String, &TenantQuota)| Some((tenant.clone(), Quota { max: quota.messages?, held: 0 }));
        let mut all: HashMap<_, _> = quotas.iter().filter_map(quota).collect();
        for (topic, count) in held {
            if let Some(quota) = tenant_of(&topic).and_then(|tenant| all.get_mut(tenant)) {
                quota.held += count;
            }
        }
        *self.0.write() = all;
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.0.read().is_empty()
    }

    /// Whether there is room for what is to be published.
    pub fn check(&self, publications: &[Publication]) -> Result<(), BrokerError> {
        let quotas = self.0.read();
        if quotas.is_empty() {
            return Ok(());
        }
        for (tenant, wanted) in wanted(publications) {
            if let Some(Quota { max, held }) = quotas.get(tenant).filter(|quota| quota.held + wanted > quota.max) {
                return Err(full(tenant, *held, *max));
            }
        }
        Ok(())
    }

    /// Takes note of messages that were added to a topic, or taken out where there are fewer.
    pub fn count(&self, topic: &str, added: i64) {
        let Some(tenant) = tenant_of(topic) else { return };
        if let Some(quota) = self.0.write().get_mut(tenant) {
            quota.held = quota.held.saturating_add_signed(added);
        }
    }
}

/// How many messages each tenant is to get.
pub(crate) fn wanted(publications: &[Publication]) -> BTreeMap<&str, u64> {
    let mut wanted = BTreeMap::new();
    for tenant in publications.iter().filter_map(|publication| tenant_of(&publication.topic)) {
        *wanted.entry(tenant).or_default() += 1;
    }
    wanted
}

/// The error for a tenant whose quota is used up.
pub(crate) fn full(tenant: &str, held: u64, max: u64) -> BrokerError {
    let context =
        format!("tenant {tenant:?} has {held} messages, dead letters included, of the {max} that it may have");
    BrokerError::new(BrokerErrorKind::Full, context)
}
