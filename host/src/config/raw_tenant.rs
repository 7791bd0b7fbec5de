//! A tenant as it is written.

use schemars::JsonSchema;
use serde::Deserialize;
use wasmpost_sandbox::{LimitCaps, Size};

use super::raw::concurrency;
use super::word::{Name, Origin, Pattern};
use crate::tenant::Tenant;

/// An owner of receivers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTenant {
    /// The most messages in flight at a time, over all its receivers.
    #[serde(default = "concurrency")]
    #[schemars(range(min = 1))]
    concurrency: std::num::NonZeroU32,
    /// Its share of CPU time when all tenants together want more than there is, relative to that of others.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    weight: std::num::NonZeroU32,
    /// The memory that all deliveries of its receivers may hold together.
    #[serde(default = "memory")]
    memory: Size,
    /// The most messages that its receivers may publish a second, over time. Messages over the rate delay those after
    /// them. Unlimited unless given.
    publish_rate: Option<std::num::NonZeroU32>,
    /// The most messages in its queues, dead letters included; more are refused. Unlimited unless given.
    messages: Option<std::num::NonZeroU64>,
    /// The most topics without a queue that may hold messages of it; a message to one more is refused. 1000 unless
    /// given.
    topics_max: Option<std::num::NonZeroU64>,
    /// The topics that its receivers can be granted. All of its own unless given, and none of other tenants.
    publish: Option<Vec<Pattern>>,
    /// The topics of other tenants that its queues can take from, by their whole names, @tenant/topic. None unless given.
    #[serde(default)]
    topics: Vec<Name>,
    /// The origins that its receivers can be granted HTTP requests to. All unless given.
    http: Option<Vec<Origin>>,
    /// The limits that no delivery of its receivers may exceed.
    #[serde(default)]
    limits: LimitCaps,
}

fn one() -> std::num::NonZeroU32 {
    std::num::NonZeroU32::MIN
}

fn memory() -> Size {
    Size(1 << 30)
}

impl RawTenant {
    pub(super) fn into_tenant(self) -> Tenant {
        Tenant {
            concurrency: self.concurrency.get() as usize,
            weight: self.weight.get(),
            memory: self.memory,
            publish_rate: self.publish_rate.map(std::num::NonZeroU32::get),
            messages: self.messages.map(std::num::NonZeroU64::get),
            topics_max: self.topics_max.map(std::num::NonZeroU64::get),
            publish: self.publish.map(|patterns| patterns.into_iter().map(|pattern| pattern.0).collect()),
            topics: self.topics.into_iter().map(|topic| topic.0).collect(),
            http: self.http.map(|origins| origins.into_iter().map(|origin| origin.0).collect()),
            limits: self.limits,
        }
    }
}
