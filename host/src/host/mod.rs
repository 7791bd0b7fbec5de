//! The host: brokers, components and servers, wired as the configuration says.

mod additions;
mod admin;
mod components;
mod confine;
mod error;
mod ingress;
mod loads;
mod prepare;
mod replaceable;
mod served;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::task::JoinSet;
use wasmpost_delivery::{
    Broker, BrokerError, BrokerErrorKind, Forward, Queue, QueueServer, QueueServerOptions, Share, Threads,
};
use wasmpost_ingress::Ingress;
use wasmpost_msg::{Receiver, Server, chain};
use wasmpost_sandbox::{LoadError, LoadedComponent, MemoryBudget};

use crate::admin::Admin;
use crate::config::{Config, ReceiverConfig, concurrency_or_default};
use crate::control::{self, Reached};
use crate::kept::KeptLogs;
use crate::metrics::Meters;
use crate::registry::{Address, Purpose};
pub use crate::view::{ReceiverStatus, Reloaded, TenantStatus, View};
pub use additions::{Additions, Around};
use admin::{load_of, open_admin};
pub use components::Components;
pub use confine::confine;
pub use error::HostError;
pub use ingress::Sockets;
pub use prepare::{Prepared, prepare};
use replaceable::Replaceable;
use served::{Served, ServedTenant, Serving, ViewOf, wasm_receiver};

/// How much longer than its own limit the server waits for a call: the sandbox should be the one to end it, and may have
/// to wait for an instance first.
const CALL_SLACK: Duration = Duration::from_secs(10);
/// How long closing the brokers may take. With the default grace and the time for settling, the process ends within
/// thirty seconds.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long requests by HTTP that are being answered may take once the host ends.
const INGRESS_TIMEOUT: Duration = Duration::from_secs(12);

/// A host at work.
pub struct Host {
    served: Arc<Served>,
    tasks: JoinSet<Result<(), HostError>>,
    brokers: BTreeMap<String, Arc<dyn Broker>>,
    /// Each broker once, with its names, until the admin listener has them.
    names: Vec<(Arc<dyn Broker>, Vec<String>)>,
    control: Vec<control::Listener>,
    ingress: Vec<Ingress>,
    admin: Option<Admin>,
    grace: Duration,
    /// Guests run on threads of their own, so that none of them keeps leases from being renewed.
    _threads: Threads,
}

impl Host {
    /// Starts everything that the configuration names.
    pub async fn start(config: Config) -> Result<Self, HostError> {
        Self::start_with(config, Additions::default()).await
    }

    /// Starts everything that the configuration names, with additions of the program that runs it.
    pub async fn start_with(config: Config, additions: Additions) -> Result<Self, HostError> {
        // An address that is taken is told before components are loaded.
        let sockets = match &additions.sockets {
            Some(sockets) => Arc::clone(sockets),
            None => Arc::new(Sockets::bind(&config)?),
        };
        let meters = config.admin.is_some().then(|| Arc::new(Meters::default()));
        let logs = Arc::new(KeptLogs::default());
        let admin = open_admin(&config, &additions, meters.as_ref(), &logs)?;
        let Prepared { sandbox, components } = prepare(&config).await?;
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let preempt = {
            let sandbox = Arc::clone(&sandbox);
            Box::new(move || sandbox.interrupt())
        };
        let threads = Threads::start(count, &tokio::runtime::Handle::current(), preempt).map_err(HostError::Threads)?;
        let served = Served {
            sandbox,
            additions,
            meters,
            logs,
            receivers: RwLock::default(),
            tenants: tenants(&config, &threads),
            brokers: RwLock::default(),
            ingress: RwLock::default(),
            loads: loads::Loads::default(),
            load_time: config.engine.load.compile_wall.0,
        };
        let mut host = Self {
            served: Arc::new(served),
            tasks: JoinSet::new(),
            brokers: BTreeMap::new(),
            names: Vec::new(),
            control: Vec::new(),
            ingress: Vec::new(),
            admin,
            grace: config.grace,
            _threads: threads,
        };
        let started = host.wire(&config, &components).await;
        let started = started.and_then(|()| sockets.serve(&host.brokers));
        match started {
            Ok(ingress) => {
                *host.served.ingress.write() = ingress.iter().map(Ingress::watched).collect();
                host.ingress = ingress;
            }
            Err(error) => {
                // Everything that was started is ended in order, so that no lease has to lapse.
                drop(host.stop().await);
                return Err(error);
            }
        }
        Ok(host)
    }

    /// Opens the brokers that receivers use. Those of one place are opened once, whatever they are called.
    async fn open_brokers(&mut self, config: &Config) -> Result<(), HostError> {
        let mut opened: Vec<(&Address, Arc<dyn Broker>, Vec<String>)> = Vec::new();
        for (name, address) in config.brokers_in_use() {
            let known = opened.iter_mut().find(|(other, _, _)| other.is_shared_with(address));
            let broker = match known {
                Some((_, broker, names)) => {
                    names.push(name.clone());
                    Arc::clone(broker)
                }
                None => {
                    let broker = open(address, &config.id).await?;
                    if broker.capabilities().quotas {
                        broker.set_quotas(config.quotas()).await?;
                    }
                    opened.push((address, Arc::clone(&broker), vec![name.clone()]));
                    broker
                }
            };
            self.brokers.insert(name.clone(), broker);
        }
        *self.served.brokers.write() = opened.iter().map(|(_, broker, _)| Arc::clone(broker)).collect();
        self.names = opened.iter().map(|(_, broker, names)| (Arc::clone(broker), names.clone())).collect();
        for (address, broker, brokers) in opened {
            let Some(file) = address.file() else { continue };
            let view = ViewOf { served: Arc::clone(&self.served), brokers };
            let listener = control::listen(&file, broker, Arc::new(view));
            let fault = |source| HostError::Control { path: control::socket_path(&file), source };
            self.control.push(listener.map_err(fault)?);
        }
        Ok(())
    }

    async fn wire(&mut self, config: &Config, components: &Components) -> Result<(), HostError> {
        self.open_brokers(config).await?;
        let tenants: BTreeMap<_, _> =
            self.served.tenants.iter().map(|tenant| (tenant.name.as_deref(), tenant)).collect();
        self.served.count_loads(components.values().map(load_of));
        let mut servings = Vec::new();
        for receiver in &config.receivers {
            let (Some(broker), Some(loaded), Some(tenant)) = (
                self.brokers.get(&receiver.broker),
                components.get(&receiver.component),
                tenants.get(&receiver.tenant.as_deref()),
            ) else {
                continue;
            };
            let queue = broker.queue(receiver.queue.clone()).await?;
            let other = receiver.publish_broker.as_ref().and_then(|name| self.brokers.get(name));
            // To its own broker, by whatever name, it publishes in the transaction of the acknowledgement.
            let other = other.filter(|other| !Arc::ptr_eq(other, broker));
            let forward = other.map(|broker| Forward::to(Arc::clone(broker)));
            let made = serving(&self.served, receiver, (queue, forward), tenant, loaded);
            servings.push(made.map_err(|source| HostError::of_component(receiver, source))?);
        }
        // Commands that come once it is told that messages are received see all receivers.
        self.served.receivers.write().clone_from(&servings);
        if let Some(admin) = &self.admin {
            admin.scene().serving(self.view(), std::mem::take(&mut self.names));
        }
        for serving in &servings {
            let receiver = &serving.config;
            let loaded = components.get(&receiver.component);
            tracing::info!(
                host = %config.id, receiver = %receiver.name, queue = %receiver.queue.name,
                component = %serving.digest.lock(), from_cache = loaded.is_some_and(LoadedComponent::is_from_cache),
                "receiving"
            );
            let server = Arc::clone(&serving.server);
            let name = serving.config.name.clone();
            let receiver: Arc<dyn Receiver> = Arc::clone(&serving.receiver) as Arc<dyn Receiver>;
            let receiver = match &self.served.additions.around {
                Some(around) => around(&serving.config, receiver),
                None => receiver,
            };
            self.tasks.spawn(async move {
                let served = server.serve(receiver).await;
                served.map(drop).map_err(|source| HostError::Serve { receiver: name, source })
            });
        }
        Ok(())
    }

    /// One of its brokers, by the name in the configuration, if a receiver uses it.
    pub fn broker(&self, name: &str) -> Option<Arc<dyn Broker>> {
        self.brokers.get(name).cloned()
    }

    /// The addresses at which it takes messages by HTTP.
    pub fn ingress_addresses(&self) -> Vec<std::net::SocketAddr> {
        self.ingress.iter().map(Ingress::address).collect()
    }

    /// Where its admin listener listens, if it has one.
    pub fn admin_address(&self) -> Option<std::net::SocketAddr> {
        self.admin.as_ref().map(Admin::address)
    }

    /// The view that other commands have of it.
    pub fn view(&self) -> Arc<dyn View> {
        Arc::clone(&self.served) as Arc<dyn View>
    }

    /// Waits until a receiver stops by itself, which happens only if its broker cannot go on.
    pub async fn stopped(&mut self) -> HostError {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(Err(error))) => return error,
                Some(Ok(Ok(()))) => {}
                Some(Err(error)) => return HostError::Threads(std::io::Error::other(error)),
                None => std::future::pending().await,
            }
        }
    }

    /// Waits until all queues are empty at once: nothing ready, delayed or leased.
    pub async fn drained(&self) -> Result<(), HostError> {
        let servings = self.served.receivers.read().clone();
        loop {
            for serving in &servings {
                serving.queue.drained().await?;
            }
            // While one queue was waited for, another may have got messages.
            if self.is_drained(&servings).await? {
                return Ok(());
            }
        }
    }

    async fn is_drained(&self, servings: &[Arc<Serving>]) -> Result<bool, HostError> {
        let served: std::collections::BTreeSet<(&str, &str)> =
            servings.iter().map(|serving| (serving.config.broker.as_str(), serving.queue.name())).collect();
        for (name, broker) in &self.brokers {
            let stats = broker.stats().await?;
            let is_busy = |stats: &wasmpost_delivery::QueueStats| {
                stats.ready + stats.delayed + stats.leased > 0
                    && served.contains(&(name.as_str(), stats.queue.as_str()))
            };
            if stats.iter().any(is_busy) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes no more messages, lets those in flight finish within the grace, gives the rest back, and closes the
    /// brokers.
    pub async fn stop(mut self) -> Result<(), HostError> {
        let grace = self.grace;
        if let Some(admin) = &self.admin {
            admin.scene().draining();
        }
        let servings = self.served.receivers.read().clone();
        let ending = servings.iter().map(|serving| serving.server.shutdown(grace));
        // Requests whose messages are being stored are answered before the brokers are closed.
        let ingress = std::mem::take(&mut self.ingress).into_iter().map(|ingress| ingress.stop(INGRESS_TIMEOUT));
        let (ended, _) = tokio::join!(futures::future::join_all(ending), futures::future::join_all(ingress));
        let in_flight = ended.iter().filter_map(|ended| ended.as_ref().err()).map(|expired| expired.in_flight).sum();
        self.control.clear();
        if let Some(admin) = self.admin.take() {
            admin.end().await;
        }
        self.names.clear();
        self.served.brokers.write().clear();
        let mut brokers: Vec<(String, Arc<dyn Broker>)> = Vec::new();
        for (name, broker) in std::mem::take(&mut self.brokers) {
            if !brokers.iter().any(|(_, other)| Arc::ptr_eq(other, &broker)) {
                brokers.push((name, broker));
            }
        }
        let closing = brokers.iter().map(|(name, broker)| close(name, &**broker));
        let closed: Result<Vec<()>, HostError> = futures::future::join_all(closing).await.into_iter().collect();
        if in_flight > 0 { Err(HostError::GraceExpired { in_flight }) } else { closed.map(drop) }
    }
}

/// The resources that the receivers of each tenant share. Those without a tenant have one share without limits.
fn tenants(config: &Config, threads: &Threads) -> Vec<ServedTenant> {
    let nobody = Share::new(usize::MAX, Some(threads.lane(1)));
    let mut all = vec![ServedTenant { name: None, share: Arc::new(nobody), memory: None }];
    for (name, tenant) in &config.tenants {
        let share = Share::new(tenant.concurrency, Some(threads.lane(tenant.weight)));
        let share = match tenant.publish_rate {
            Some(per_second) => share.with_publish_rate(per_second),
            None => share,
        };
        let memory = Some(MemoryBudget::new(tenant.memory));
        all.push(ServedTenant { name: Some(name.clone()), share: Arc::new(share), memory });
    }
    all
}

fn serving(
    served: &Served,
    config: &ReceiverConfig,
    (queue, forward): (Arc<dyn Queue>, Option<Forward>),
    tenant: &ServedTenant,
    loaded: &LoadedComponent,
) -> Result<Arc<Serving>, LoadError> {
    let (concurrency, batch) = if loaded.takes_batches(config.world.as_deref())? {
        let (concurrency, batch) = config.batch.options(config.concurrency);
        (concurrency, Some(batch))
    } else {
        (concurrency_or_default(config.concurrency), None)
    };
    let options = QueueServerOptions {
        receiver: config.name.clone(),
        concurrency,
        batch,
        retry: config.retry.clone(),
        timeout: config.limits.wall.0 + CALL_SLACK,
        hops_max: config.limits.hops,
        share: Some(Arc::clone(&tenant.share)),
        forward,
        observer: served.observer(&config.name),
        ..QueueServerOptions::default()
    };
    let memory = tenant.memory.clone();
    let receiver = wasm_receiver(&served.sandbox, loaded, config, memory.clone(), served.log(&config.name))?;
    Ok(Arc::new(Serving {
        config: config.clone(),
        concurrency,
        server: Arc::new(QueueServer::new(Arc::clone(&queue), options)),
        queue,
        receiver: Arc::new(Replaceable::new(Arc::new(receiver))),
        memory,
        digest: Mutex::new(loaded.digest().to_owned()),
    }))
}

/// Opens a broker. A queue file is waited for while commands have it, and refused while another host has it.
async fn open(address: &Address, host: &str) -> Result<Arc<dyn Broker>, BrokerError> {
    let mut address = address.clone();
    address.access.client = Some(format!("wasmpost/{host}"));
    address.purpose = Purpose::Serve;
    let Some(file) = address.file() else { return address.open().await };
    match control::reach(&address, &file).await? {
        Reached::File(broker) => Ok(broker),
        Reached::Host(_) => {
            let socket = control::socket_path(&file);
            let file = file.display();
            let context = format!(
                "queue file {file} is in use by another host, which answers at {}; stop it first",
                socket.display()
            );
            Err(BrokerError::new(BrokerErrorKind::InUse, context))
        }
    }
}

async fn close(name: &str, broker: &dyn Broker) -> Result<(), HostError> {
    match tokio::time::timeout(CLOSE_TIMEOUT, broker.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(source)) => {
            tracing::error!(broker = %name, error = %chain(&source), "broker was not closed in order");
            return Err(HostError::NotClosed { broker: name.to_owned(), source });
        }
        Err(_) => tracing::error!(broker = %name, "closing the broker took too long"),
    }
    Ok(())
}
