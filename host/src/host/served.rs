//! The receivers of a running host, as other commands see them, and the reloading of their components.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use wasmpost_delivery::{Broker, QueueServer, Share, WaitingTopics};
use wasmpost_msg::chain;
use wasmpost_sandbox::{LoadError, LoadedComponent, LogSink, MemoryBudget, Sandbox, WasmReceiver};

use super::additions::Additions;
use super::loads::{LoadedFile, Loads};
use super::replaceable::Replaceable;
use crate::config::ReceiverConfig;
use crate::view::{ReceiverStatus, Reloaded, TenantStatus, View};

/// How long reading a component may take when it is loaded again, beside the time for compiling it.
const READ_TIME_MAX: Duration = Duration::from_secs(10);
/// The most time for compiling one then, whatever the configuration allows: the command waits for ten minutes.
const LOAD_TIME_MAX: Duration = Duration::from_secs(320);
/// How long a component may wait for its turn to be loaded again.
const RELOAD_MAX: Duration = Duration::from_secs(240);

/// The receivers of a host at work, and their tenants.
pub(super) struct Served {
    pub(super) sandbox: Arc<Sandbox>,
    pub(super) additions: Additions,
    pub(super) receivers: RwLock<Vec<Arc<Serving>>>,
    pub(super) tenants: Vec<ServedTenant>,
    /// Each once, whatever names it has.
    pub(super) brokers: RwLock<Vec<Arc<dyn Broker>>>,
    /// How components are loaded again.
    pub(super) loads: Loads,
    /// How long compiling one may take.
    pub(super) load_time: Duration,
}

/// The resources that all receivers of a tenant share.
pub(super) struct ServedTenant {
    pub(super) name: Option<String>,
    pub(super) share: Arc<Share>,
    pub(super) memory: Option<Arc<MemoryBudget>>,
}

/// A receiver at work.
pub(super) struct Serving {
    pub(super) config: ReceiverConfig,
    pub(super) server: Arc<QueueServer>,
    pub(super) queue: Arc<dyn wasmpost_delivery::Queue>,
    pub(super) receiver: Arc<Replaceable>,
    pub(super) memory: Option<Arc<MemoryBudget>>,
    pub(super) digest: Mutex<String>,
}

impl Served {
    /// The topics of a tenant at the broker where it has most of them.
    fn waiting_topics(&self, tenant: &str) -> Option<WaitingTopics> {
        let brokers = self.brokers.read();
        brokers.iter().filter_map(|broker| broker.waiting_topics(tenant)).max_by_key(|topics| topics.held)
    }
}

#[async_trait]
impl View for Served {
    fn tenants(&self) -> Vec<TenantStatus> {
        let mut by_tenant: BTreeMap<Option<String>, (usize, usize)> = BTreeMap::new();
        for serving in self.receivers.read().iter() {
            let sums = by_tenant.entry(serving.config.tenant.clone()).or_default();
            *sums = (sums.0 + 1, sums.1 + serving.server.in_flight());
        }
        let status = |tenant: &ServedTenant| {
            let (receivers, in_flight) = by_tenant.get(&tenant.name).copied().unwrap_or_default();
            let topics = self.waiting_topics(tenant.name.as_deref().unwrap_or_default());
            TenantStatus {
                tenant: tenant.name.clone(),
                receivers,
                in_flight,
                memory_bytes: tenant.memory.as_ref().map_or(0, |memory| memory.held_bytes() as u64),
                topics: topics.map_or(0, |topics| topics.held),
                topics_max: topics.map(|topics| topics.max),
                used: tenant.share.used(),
            }
        };
        self.tenants.iter().map(status).filter(|tenant| tenant.tenant.is_some() || tenant.receivers > 0).collect()
    }

    fn receivers(&self) -> Vec<ReceiverStatus> {
        let status = |serving: &Arc<Serving>| ReceiverStatus {
            receiver: serving.config.name.clone(),
            queue: serving.config.queue.name.clone(),
            broker: serving.config.broker.clone(),
            component: serving.digest.lock().clone(),
            in_flight: serving.server.in_flight(),
            given_back: serving.server.given_back(),
            breaker: serving.server.breaker(),
        };
        self.receivers.read().iter().map(status).collect()
    }

    async fn reload(&self) -> Vec<Reloaded> {
        let mut by_file: BTreeMap<PathBuf, Vec<Arc<Serving>>> = BTreeMap::new();
        for serving in self.receivers.read().iter() {
            by_file.entry(serving.config.component.clone()).or_default().push(Arc::clone(serving));
        }
        let reloading = by_file.iter().map(|(file, servings)| self.reload_one(file, servings));
        futures::future::join_all(reloading).await
    }
}

impl Served {
    /// Loads one component again, within a time of its own.
    async fn reload_one(&self, file: &Path, servings: &[Arc<Serving>]) -> Reloaded {
        let sandbox = Arc::clone(&self.sandbox);
        let path = file.to_owned();
        let tenant = servings.iter().find_map(|serving| serving.config.tenant.as_deref());
        // Components without a tenant belong to the operator and need not wait for each other.
        let owner = tenant.map_or_else(|| file.display().to_string(), |tenant| format!("@{tenant}"));
        let time = self.load_time.min(LOAD_TIME_MAX) + READ_TIME_MAX;
        let loading = self.loads.load(&owner, file, RELOAD_MAX, time, move || sandbox.load_file(&path));
        match loading.await {
            Ok(LoadedFile { loaded: Ok(ref loaded), .. }) => self.replace(file.display().to_string(), servings, loaded),
            Ok(LoadedFile { loaded: Err(ref error), .. }) => refused(&file.display(), servings, error),
            Err(ref error) => refused(&file.display(), servings, error),
        }
    }

    /// Puts a loaded component into the place of the one that serves.
    fn replace(&self, file: String, servings: &[Arc<Serving>], loaded: &LoadedComponent) -> Reloaded {
        if servings.iter().all(|serving| *serving.digest.lock() == loaded.digest()) {
            return report(&file, servings, "unchanged");
        }
        let made = servings.iter().map(|serving| {
            let memory = serving.memory.clone();
            let log = self.additions.log();
            wasm_receiver(&self.sandbox, loaded, &serving.config, memory, log)
        });
        let made: Vec<_> = match made.collect::<Result<_, _>>() {
            Ok(made) => made,
            Err(error) => return refused(&file, servings, &error),
        };
        for (serving, receiver) in servings.iter().zip(made) {
            serving.receiver.replace(Arc::new(receiver));
            *serving.digest.lock() = loaded.digest().to_owned();
            serving.server.receiver_changed();
            tracing::info!(receiver = %serving.config.name, component = %loaded.digest(), "component replaced");
        }
        report(&file, servings, "replaced")
    }
}

/// The view of a host through the socket of one of its brokers.
pub(super) struct ViewOf {
    pub(super) served: Arc<Served>,
    /// The names of that broker.
    pub(super) brokers: Vec<String>,
}

#[async_trait]
impl View for ViewOf {
    fn tenants(&self) -> Vec<TenantStatus> {
        self.served.tenants()
    }

    fn receivers(&self) -> Vec<ReceiverStatus> {
        let mut receivers = self.served.receivers();
        receivers.retain(|receiver| self.brokers.contains(&receiver.broker));
        receivers
    }

    async fn reload(&self) -> Vec<Reloaded> {
        self.served.reload().await
    }
}

fn report(file: &dyn std::fmt::Display, servings: &[Arc<Serving>], outcome: &str) -> Reloaded {
    Reloaded {
        component: file.to_string(),
        receivers: servings.iter().map(|serving| serving.config.name.clone()).collect(),
        outcome: outcome.to_owned(),
        digest: servings.first().map(|serving| serving.digest.lock().clone()).unwrap_or_default(),
        error: None,
    }
}

fn refused(
    file: &dyn std::fmt::Display,
    servings: &[Arc<Serving>],
    error: &(dyn std::error::Error + 'static),
) -> Reloaded {
    tracing::error!(component = %file, error = %chain(error), "component refused; the old one serves on");
    Reloaded { error: Some(chain(error).to_string()), ..report(file, servings, "refused") }
}

/// The receiver that a component is under a configuration.
pub(super) fn wasm_receiver(
    sandbox: &Arc<Sandbox>,
    loaded: &LoadedComponent,
    config: &ReceiverConfig,
    memory: Option<Arc<MemoryBudget>>,
    log: Arc<dyn LogSink>,
) -> Result<WasmReceiver, LoadError> {
    let world = config.world.as_deref();
    if let Some(setting) = config.batch.given().filter(|_| loaded.takes_batches(world).is_ok_and(|takes| !takes)) {
        return Err(loaded.no_batches(world, setting));
    }
    let options = wasmpost_sandbox::ReceiverOptions {
        name: config.name.clone(),
        limits: config.limits.clone(),
        grants: config.grants.clone(),
        config: config.config.clone(),
        log,
        memory,
        world: config.world.clone(),
        topic: config.queue.name.clone(),
        output: config.output.clone(),
        reuse: config.reuse,
        surroundings: None,
        concurrent: config.concurrent,
    };
    WasmReceiver::new(Arc::clone(sandbox), loaded.clone(), options)
}
