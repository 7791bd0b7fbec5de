//! The broker in memory: everything that the durable one promises, but that messages survive the process.

mod dead_letters;
mod held;
mod ids;
mod lease;
mod queue;
mod state;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use wasmpost_msg::Publication;

use crate::admission::Admission;
use crate::broker::{Broker, Capabilities, Queue, QueueSpec, QueueStats, Receipt};
use crate::clock::Clock;
use crate::dead_letter::DeadLetters;
use crate::error::{BrokerError, BrokerErrorKind};
use crate::history::IDS_MAX;
use crate::quota::{TenantQuota, WaitingTopics};
use queue::MemoryQueue;
use state::State;

/// How a broker in memory is set up.
#[derive(Debug, Clone)]
pub struct MemoryOptions {
    /// The clock that due times are told by.
    pub clock: Clock,
    /// The bounds of messages.
    pub admission: Admission,
    /// The most bytes of bodies and attributes, dead letters included, that are kept at a time. More is refused.
    pub bytes_max: usize,
    /// How long the id of a message is remembered, to recognise a second publication of it.
    pub deduplication_window: std::time::Duration,
    /// The most ids that are remembered at a time; beyond it the oldest are forgotten before their time, which is told.
    pub deduplication_ids_max: usize,
}

/// A broker that keeps all in memory.
///
/// # Examples
///
/// ```
/// use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
/// use wasmpost_delivery::{Broker, BrokerErrorKind};
/// use wasmpost_msg::{Attributes, Publication};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // One mebibyte of bodies and attributes.
/// let broker = MemoryBroker::new(MemoryOptions { bytes_max: 1 << 20, ..MemoryOptions::default() });
/// let large = Publication::new("orders", Attributes::new(), vec![0; 2 << 20]);
/// let error = broker.publish(vec![large]).await.unwrap_err();
/// assert_eq!(error.kind(), BrokerErrorKind::Full);
///
/// // A second publication of an id adds nothing.
/// let order = Publication { id: Some("order-1".into()), ..Publication::new("orders", Attributes::new(), "{}") };
/// assert!(!broker.publish(vec![order.clone()]).await?[0].duplicate);
/// assert!(broker.publish(vec![order]).await?[0].duplicate);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryBroker(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    options: MemoryOptions,
}

impl Default for MemoryOptions {
    /// The system's clock, one GiB, at most a million ids remembered for ten minutes.
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            admission: Admission::default(),
            bytes_max: 1 << 30,
            deduplication_window: std::time::Duration::from_secs(600),
            deduplication_ids_max: IDS_MAX,
        }
    }
}

impl MemoryBroker {
    /// An empty broker.
    pub fn new(options: MemoryOptions) -> Self {
        let state = Mutex::new(State::new(&options));
        let broker = Self(Arc::new(Shared { state, options }));
        let weak = Arc::downgrade(&broker.0);
        broker.0.options.clock.on_advance(move || {
            if let Some(shared) = weak.upgrade() {
                shared.state.lock().wake_all();
            }
        });
        broker
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, BrokerError> {
        let state = self.0.state.lock();
        if state.closed() {
            return Err(BrokerError::new(BrokerErrorKind::Closed, "broker in memory was closed"));
        }
        Ok(state)
    }

    fn now(&self) -> crate::timestamp::Timestamp {
        self.0.options.clock.now()
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    fn capabilities(&self) -> Capabilities {
        Capabilities::in_memory()
    }

    async fn queue(&self, spec: QueueSpec) -> Result<Arc<dyn Queue>, BrokerError> {
        spec.check()?;
        let signals = self.open()?.declare(&spec);
        Ok(Arc::new(MemoryQueue::new(self.clone(), spec, signals)))
    }

    async fn publish(&self, publications: Vec<Publication>) -> Result<Vec<Receipt>, BrokerError> {
        publications.iter().try_for_each(|publication| self.0.options.admission.check(publication))?;
        let now = self.now();
        self.open()?.publish(publications, now, true)
    }

    async fn set_quotas(&self, quotas: BTreeMap<String, TenantQuota>) -> Result<(), BrokerError> {
        self.open()?.set_quotas(&quotas);
        Ok(())
    }

    fn waiting_topics(&self, tenant: &str) -> Option<WaitingTopics> {
        self.open().ok().map(|state| state.waiting_topics(tenant))
    }

    async fn stats(&self) -> Result<Vec<QueueStats>, BrokerError> {
        let now = self.now();
        Ok(self.open()?.stats(now))
    }

    fn dead_letters(&self) -> Option<&dyn DeadLetters> {
        Some(self)
    }

    async fn close(&self) -> Result<(), BrokerError> {
        self.0.state.lock().close();
        Ok(())
    }
}
