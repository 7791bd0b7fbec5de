//! A tenant: the owner of receivers, and what all of them may use together.

use wasmpost_sandbox::{HttpOrigin, LimitCaps, TopicPattern};

/// The owner of receivers.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// The most deliveries in flight at a time, over all its receivers.
    pub concurrency: usize,
    /// The topics that its receivers can be granted; all if none are named.
    pub publish: Option<Vec<TopicPattern>>,
    /// What no delivery of its receivers may exceed.
    pub limits: LimitCaps,
    /// The origins that its receivers can be granted HTTP requests to; all if none are named.
    pub http: Option<Vec<HttpOrigin>>,
}

impl Tenant {
    /// Whether its receivers can be granted these topics.
    pub fn may_grant(&self, wanted: &TopicPattern) -> bool {
        self.publish.as_ref().is_none_or(|granted| granted.iter().any(|pattern| pattern.covers(wanted)))
    }

    /// Whether its receivers can be granted HTTP requests to this origin.
    pub fn may_grant_http(&self, wanted: &HttpOrigin) -> bool {
        self.http.as_ref().is_none_or(|granted| granted.contains(wanted))
    }
}
