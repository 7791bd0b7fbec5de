//! The view that other commands have of a running host, and the one thing that they can ask of it: reload its
//! components.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wasmpost_delivery::{BreakerState, ShareUsage};
use wasmpost_sandbox::Instances;

use crate::kept::KeptLine;

/// The view that other commands have of a host.
#[async_trait]
pub trait View: Send + Sync {
    /// The limits and the usage of each tenant.
    fn tenants(&self) -> Vec<TenantStatus>;

    /// How each receiver gets its messages.
    fn receivers(&self) -> Vec<ReceiverStatus>;

    /// How many instances are live, and how many are waited for.
    fn instances(&self) -> Instances;

    /// At most `max` lines that the component of a receiver wrote behind a number, oldest first; none where there is no
    /// such receiver.
    fn logs(&self, receiver: &str, after: u64, max: usize) -> Option<Vec<KeptLine>>;

    /// The paths at which messages are taken by HTTP.
    fn ingress(&self) -> Vec<IngressStatus> {
        Vec::new()
    }

    /// Loads every component whose file has changed. Receivers go on with the old one where the new one is refused.
    async fn reload(&self) -> Vec<Reloaded>;
}

/// A path at which messages are taken by HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngressStatus {
    /// The address that is listened on.
    pub address: std::net::SocketAddr,
    /// The path.
    pub path: String,
    /// The topic that messages are written to.
    pub topic: String,
    /// How many connections the address has, for all its paths.
    pub connections: usize,
    /// How many requests were answered with each status.
    pub answers: std::collections::BTreeMap<u16, u64>,
}

/// A tenant of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantStatus {
    /// Its name; none for what belongs to no tenant.
    pub tenant: Option<String>,
    /// How many receivers it has.
    pub receivers: usize,
    /// How many of its deliveries are in flight.
    pub in_flight: usize,
    /// The memory that its instances hold now, in bytes.
    pub memory_bytes: u64,
    /// How many topics that no queue takes from hold messages of it, at the broker where it has most of them.
    #[serde(default)]
    pub topics: u64,
    /// How many such topics it may have there; none where no broker bounds them.
    #[serde(default)]
    pub topics_max: Option<u64>,
    /// The resources that its deliveries used since the host started.
    #[serde(flatten)]
    pub used: ShareUsage,
}

/// A receiver of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverStatus {
    /// Its name.
    pub receiver: String,
    /// Its queue.
    pub queue: String,
    /// The name of its broker.
    pub broker: String,
    /// The digest of its component.
    pub component: String,
    /// How many of its deliveries are in flight.
    pub in_flight: usize,
    /// How many messages it gave back uncounted that neither ended nor failed since. Each waits longer each time.
    #[serde(default)]
    pub given_back: usize,
    /// Whether it is slowed.
    pub breaker: BreakerState,
    /// Its tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The world by which it receives, where the configuration names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub world: Option<String>,
    /// The most deliveries in flight.
    #[serde(default)]
    pub concurrency: usize,
    /// The limits of a delivery: CPU time, in microseconds.
    #[serde(default)]
    pub cpu_us_max: u64,
    /// Time, in microseconds.
    #[serde(default)]
    pub wall_us_max: u64,
    /// Memory, in bytes.
    #[serde(default)]
    pub memory_bytes_max: u64,
}

impl ReceiverStatus {
    /// Whether it is slowed because it faults on every message.
    pub fn is_slowed(&self) -> bool {
        self.breaker != BreakerState::Closed
    }
}

/// The outcome of loading a component again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    /// The file.
    pub component: String,
    /// The receivers that it is for.
    pub receivers: Vec<String>,
    /// The outcome: `unchanged`, `replaced` or `refused`.
    pub outcome: String,
    /// The digest of the component that serves now.
    pub digest: String,
    /// The error, if the new one was refused.
    pub error: Option<String>,
}
