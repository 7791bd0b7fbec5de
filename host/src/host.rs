//! The host: brokers, components and servers, wired as the configuration says.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use wasmpost_delivery::{Broker, BrokerError, BrokerErrorKind, Queue, QueueServer, QueueServerOptions};
use wasmpost_msg::{ServeError, Server};
use wasmpost_sandbox::{LoadError, LoadedComponent, ReceiverOptions, Sandbox, SandboxError, TracingSink, WasmReceiver};

use crate::config::{Config, ReceiverConfig};
use crate::{control, registry};

/// How much longer than its own limit the server waits for a call: the sandbox should be the one to end it.
const CALL_SLACK: Duration = Duration::from_secs(5);
/// How long closing the brokers may take. With the default grace and the time for settling, the process ends within
/// thirty seconds.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a host did not start or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The engine could not be set up.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A component was not loaded.
    #[error("{}receiver {receiver:?}: {source}", at.as_ref().map_or_else(String::new, |at| format!("{at}: ")))]
    Component {
        /// The receiver.
        receiver: String,
        /// Where the configuration names the component.
        at: Option<String>,
        /// What is wrong with it.
        source: LoadError,
    },
    /// A broker could not be opened or used.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// A server ended by itself.
    #[error("receiver {receiver:?} stopped: {source}")]
    Serve {
        /// The receiver.
        receiver: String,
        /// Why.
        source: ServeError,
    },
    /// The local socket for other commands could not be set up.
    #[error("socket {path:?} for other commands could not be set up: {source}")]
    Control {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The threads for guests could not be started.
    #[error("threads for guests could not be started: {0}")]
    Threads(#[source] std::io::Error),
    /// Deliveries were interrupted at shutdown.
    #[error("{in_flight} deliveries were interrupted and given back")]
    GraceExpired {
        /// How many.
        in_flight: usize,
    },
}

/// A host at work.
pub struct Host {
    serving: Vec<Serving>,
    tasks: JoinSet<Result<(), HostError>>,
    brokers: BTreeMap<String, Arc<dyn Broker>>,
    control: Vec<control::Listener>,
    grace: Duration,
    /// Guests run on threads of their own, so that none of them keeps leases from being renewed.
    guests: Option<Runtime>,
}

struct Serving {
    server: Arc<QueueServer>,
    queue: Arc<dyn Queue>,
    broker: String,
}

/// Components by file, each loaded once.
pub type Components = HashMap<PathBuf, LoadedComponent>;

/// Loads every component that the configuration names.
pub fn load_components(sandbox: &Sandbox, config: &Config) -> Result<Components, HostError> {
    let mut components = Components::new();
    for receiver in &config.receivers {
        if components.contains_key(&receiver.component) {
            continue;
        }
        let loaded = sandbox.load_file(&receiver.component).map_err(|source| HostError::Component {
            receiver: receiver.name.clone(),
            at: receiver.component_at.clone(),
            source,
        })?;
        components.insert(receiver.component.clone(), loaded);
    }
    Ok(components)
}

impl Host {
    /// Starts everything that the configuration names.
    pub async fn start(config: Config) -> Result<Self, HostError> {
        let sandbox = Sandbox::new(config.engine.clone())?;
        let components = {
            let (sandbox, config) = (Arc::clone(&sandbox), config.clone());
            let loading = tokio::task::spawn_blocking(move || load_components(&sandbox, &config));
            loading.await.map_err(|error| HostError::Threads(std::io::Error::other(error)))??
        };
        let mut host = Self {
            serving: Vec::new(),
            tasks: JoinSet::new(),
            brokers: BTreeMap::new(),
            control: Vec::new(),
            grace: config.grace,
            guests: Some(guest_runtime()?),
        };
        let started = host.wire(&config, &sandbox, &components).await;
        if let Err(error) = started {
            // What was started so far is ended in order, so that no lease waits for its time.
            drop(host.stop().await);
            return Err(error);
        }
        Ok(host)
    }

    async fn wire(
        &mut self,
        config: &Config,
        sandbox: &Arc<Sandbox>,
        components: &Components,
    ) -> Result<(), HostError> {
        for (name, url) in &config.brokers {
            let in_use = config.receivers.iter().any(|receiver| receiver.broker == *name);
            if !in_use {
                continue;
            }
            let broker = open(url).await?;
            self.brokers.insert(name.clone(), Arc::clone(&broker));
            if let Some(file) = registry::file(url) {
                let path = control::socket_path(&file);
                let listener = control::listen(&path, broker);
                self.control.push(listener.map_err(|source| HostError::Control { path, source })?);
            }
        }
        let slots: BTreeMap<_, _> = config
            .tenants
            .iter()
            .map(|(name, tenant)| (name.as_str(), Arc::new(Semaphore::new(tenant.concurrency))))
            .collect();
        for receiver in &config.receivers {
            let (Some(broker), Some(loaded)) =
                (self.brokers.get(&receiver.broker), components.get(&receiver.component))
            else {
                continue;
            };
            let queue = broker.queue(receiver.queue.clone()).await?;
            let slots = receiver.tenant.as_deref().and_then(|tenant| slots.get(tenant)).cloned();
            self.serve(
                receiver,
                queue,
                slots,
                WasmReceiver::new(Arc::clone(sandbox), loaded.clone(), options(receiver)),
            );
            tracing::info!(
                receiver = %receiver.name, queue = %receiver.queue.name, component = %loaded.digest(),
                from_cache = loaded.is_from_cache(), "receiving"
            );
        }
        Ok(())
    }

    fn serve(
        &mut self,
        receiver: &ReceiverConfig,
        queue: Arc<dyn Queue>,
        slots: Option<Arc<Semaphore>>,
        wasm: WasmReceiver,
    ) {
        let server = Arc::new(QueueServer::new(
            Arc::clone(&queue),
            QueueServerOptions {
                receiver: receiver.name.clone(),
                concurrency: receiver.concurrency,
                retry: receiver.retry.clone(),
                timeout: receiver.limits.wall.0 + CALL_SLACK,
                slots,
                guests: self.guests.as_ref().map(|guests| guests.handle().clone()),
                ..QueueServerOptions::default()
            },
        ));
        let (serving, name) = (Arc::clone(&server), receiver.name.clone());
        self.tasks.spawn(async move {
            let served = serving.serve(Arc::new(wasm)).await;
            served.map(drop).map_err(|source| HostError::Serve { receiver: name, source })
        });
        self.serving.push(Serving { server, queue, broker: receiver.broker.clone() });
    }

    /// Waits until a receiver stops by itself, which it only does when its broker cannot go on.
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
        loop {
            for serving in &self.serving {
                serving.queue.drained().await?;
            }
            // While one queue was waited for, another may have got messages.
            if self.is_drained().await? {
                return Ok(());
            }
        }
    }

    async fn is_drained(&self) -> Result<bool, HostError> {
        for (name, broker) in &self.brokers {
            let served = |queue: &str| {
                self.serving.iter().any(|serving| serving.broker == *name && serving.queue.name() == queue)
            };
            let stats = broker.stats().await?;
            if stats.iter().any(|stats| served(&stats.queue) && stats.ready + stats.delayed + stats.leased > 0) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes no more messages, lets those in flight finish within the grace, gives the rest back, and closes the
    /// brokers.
    pub async fn stop(mut self) -> Result<(), HostError> {
        let grace = self.grace;
        let ending = self.serving.iter().map(|serving| serving.server.shutdown(grace));
        let ended = futures::future::join_all(ending).await;
        let in_flight = ended.iter().filter_map(|ended| ended.as_ref().err()).map(|expired| expired.in_flight).sum();
        self.control.clear();
        futures::future::join_all(self.brokers.iter().map(|(name, broker)| close(name, &**broker))).await;
        if let Some(guests) = self.guests.take() {
            guests.shutdown_background();
        }
        if in_flight > 0 { Err(HostError::GraceExpired { in_flight }) } else { Ok(()) }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(guests) = self.guests.take() {
            guests.shutdown_background();
        }
    }
}

/// Opens a broker, waiting for a command that has its file open for a moment.
async fn open(url: &str) -> Result<Arc<dyn Broker>, BrokerError> {
    const PAUSE: Duration = Duration::from_millis(50);
    const PATIENCE: Duration = Duration::from_secs(3);
    let began = tokio::time::Instant::now();
    loop {
        match registry::open(url).await {
            Err(error) if error.kind() == BrokerErrorKind::InUse && began.elapsed() < PATIENCE => {
                tokio::time::sleep(PAUSE).await;
            }
            opened => return opened,
        }
    }
}

async fn close(name: &str, broker: &dyn Broker) {
    match tokio::time::timeout(CLOSE_TIMEOUT, broker.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(broker = %name, %error, "broker was not closed"),
        Err(_) => tracing::error!(broker = %name, "closing the broker took too long"),
    }
}

fn options(receiver: &ReceiverConfig) -> ReceiverOptions {
    ReceiverOptions {
        name: receiver.name.clone(),
        limits: receiver.limits.clone(),
        grants: receiver.grants.clone(),
        config: receiver.config.clone(),
        log: Arc::new(TracingSink),
    }
}

/// The threads of guests, with time and the connections of their HTTP requests.
fn guest_runtime() -> Result<Runtime, HostError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.thread_name("wasmpost-guest").enable_all().build().map_err(HostError::Threads)
}
