//! A tenant: the owner of receivers, and what all of them may use together.

use wasmpost_delivery::TenantQuota;
use wasmpost_msg::tenant_of;
use wasmpost_sandbox::{HttpOrigin, LimitCaps, Size, TopicPattern};

/// The owner of receivers.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// The most deliveries in flight at a time, over all its receivers.
    pub concurrency: usize,
    /// Its share of CPU time when all tenants together want more than there is, relative to that of others.
    pub weight: u32,
    /// The memory that all its live instances may hold together.
    pub memory: Size,
    /// How many messages its receivers may publish a second, over time; as many as they can if none.
    pub publish_rate: Option<u32>,
    /// How many messages may lie in its queues, dead letters included; as many as the broker takes if none.
    pub messages: Option<u64>,
    /// How many topics that no queue takes from may hold messages of it; as many as the broker lets be if none.
    pub topics_max: Option<u64>,
    /// The topics that its receivers can be granted; all of its own if none are named.
    pub publish: Option<Vec<TopicPattern>>,
    /// The topics of other tenants that its queues can take from, by their whole names.
    pub topics: Vec<String>,
    /// The limits that no delivery of its receivers may exceed.
    pub limits: LimitCaps,
    /// The origins that its receivers can be granted HTTP requests to; all if none are named.
    pub http: Option<Vec<HttpOrigin>>,
}

impl Tenant {
    /// Its quota at a broker.
    pub fn quota(&self) -> TenantQuota {
        TenantQuota { messages: self.messages, topics: self.topics_max }
    }

    /// Whether its receivers can be granted these topics. Topics of other tenants have to be named.
    pub fn may_grant(&self, wanted: &TopicPattern) -> bool {
        match &self.publish {
            Some(granted) => granted.iter().any(|pattern| pattern.covers(wanted)),
            None => wanted.tenant().is_none(),
        }
    }

    /// Whether its queues can take from this topic, with `name` its own name. Topics of other tenants have to be named.
    pub fn may_take(&self, name: &str, topic: &str) -> bool {
        tenant_of(topic).is_none_or(|tenant| tenant == name) || self.topics.iter().any(|granted| granted == topic)
    }

    /// Whether its receivers can be granted HTTP requests to this origin.
    pub fn may_grant_http(&self, wanted: &HttpOrigin) -> bool {
        self.http.as_ref().is_none_or(|granted| granted.contains(wanted))
    }
}
