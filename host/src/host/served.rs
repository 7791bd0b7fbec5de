//! The receivers of a running host, as other commands see them, and the reloading of their components.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use wasmpost_delivery::{Broker, Observer, QueueServer, Share, WaitingTopics};
use wasmpost_ingress::{Endpoint, Watched};
use wasmpost_msg::chain;
use wasmpost_sandbox::{Instances, LoadError, LoadedComponent, LogSink, MemoryBudget, Sandbox, WasmReceiver};

use super::additions::Additions;
use super::loads::{LoadedFile, Loads};
use super::replaceable::Replaceable;
use crate::config::ReceiverConfig;
use crate::kept::{KeptLine, KeptLogs};
use crate::metrics::{Load, Meters};
use crate::view::{IngressStatus, ReceiverStatus, Reloaded, TenantStatus, View};

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
    /// The counts of deliveries, where there is an admin listener.
    pub(super) meters: Option<Arc<Meters>>,
    /// The last lines of components.
    pub(super) logs: Arc<KeptLogs>,
    pub(super) receivers: RwLock<Vec<Arc<Serving>>>,
    pub(super) tenants: Vec<ServedTenant>,
    /// Each once, whatever names it has.
    pub(super) brokers: RwLock<Vec<Arc<dyn Broker>>>,
    /// The addresses at which messages are taken by HTTP.
    pub(super) ingress: RwLock<Vec<Watched>>,
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
    /// The most deliveries in flight.
    pub(super) concurrency: usize,
    pub(super) server: Arc<QueueServer>,
    pub(super) queue: Arc<dyn wasmpost_delivery::Queue>,
    pub(super) receiver: Arc<Replaceable>,
    pub(super) memory: Option<Arc<MemoryBudget>>,
    pub(super) digest: Mutex<String>,
}

impl Served {
    /// Told how the deliveries of a receiver ended.
    pub(super) fn observer(&self, receiver: &str) -> Option<Arc<dyn Observer>> {
        let other = self.additions.observer.clone();
        match &self.meters {
            Some(meters) => Some(meters.of(receiver, other)),
            None => other,
        }
    }

    /// Counts components that were loaded.
    pub(super) fn count_loads(&self, loads: impl Iterator<Item = Load>) {
        if let Some(meters) = &self.meters {
            loads.for_each(|load| meters.loaded(load));
        }
    }

    /// The log of the component of a receiver.
    pub(super) fn log(&self, receiver: &str) -> Arc<dyn LogSink> {
        self.logs.keeping(receiver, self.additions.log())
    }

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
            tenant: serving.config.tenant.clone(),
            world: serving.config.world.clone(),
            concurrency: serving.concurrency,
            cpu_us_max: micros(serving.config.limits.cpu.0),
            wall_us_max: micros(serving.config.limits.wall.0),
            memory_bytes_max: serving.config.limits.memory.0,
        };
        self.receivers.read().iter().map(status).collect()
    }

    fn instances(&self) -> Instances {
        self.sandbox.instances()
    }

    fn ingress(&self) -> Vec<IngressStatus> {
        let ingress = self.ingress.read();
        let of_address = |one: &Watched| {
            let status = |endpoint: &Endpoint| IngressStatus {
                address: one.address(),
                path: endpoint.path().to_owned(),
                topic: endpoint.topic().to_owned(),
                connections: one.connections(),
                answers: endpoint.answers(),
            };
            one.endpoints().iter().map(status).collect::<Vec<_>>()
        };
        ingress.iter().flat_map(of_address).collect()
    }

    fn logs(&self, receiver: &str, after: u64, max: usize) -> Option<Vec<KeptLine>> {
        self.logs.find(receiver).map(|log| log.after(after, max))
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
        let loading = loading.await;
        let load = match &loading {
            Ok(LoadedFile { loaded: Ok(loaded), .. }) if loaded.is_from_cache() => Load::Cached,
            Ok(LoadedFile { loaded: Ok(_), .. }) => Load::Compiled,
            _ => Load::Refused,
        };
        self.count_loads([load].into_iter());
        match loading {
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
            let log = self.log(&serving.config.name);
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

    fn instances(&self) -> Instances {
        self.served.instances()
    }

    fn logs(&self, receiver: &str, after: u64, max: usize) -> Option<Vec<KeptLine>> {
        let is_seen = self.receivers().iter().any(|status| status.receiver == receiver);
        is_seen.then(|| self.served.logs(receiver, after, max)).flatten()
    }

    async fn reload(&self) -> Vec<Reloaded> {
        self.served.reload().await
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
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
