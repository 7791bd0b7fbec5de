//! The configuration file: read strictly, checked once, with errors that tell line and column.

mod admin;
mod batch;
mod error;
mod raw;
mod raw_admin;
mod raw_broker;
mod raw_dev;
mod raw_host;
mod raw_ingress;
mod raw_promise;
mod raw_tenant;
pub(crate) mod word;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wasmpost_delivery::{QueueSpec, RetryPolicy, TenantQuota};
use wasmpost_ingress::{EndpointOptions, ListenerOptions};
use wasmpost_sandbox::{Compiler, EngineOptions, Grants, Limits, Size, read_plain_file};

use crate::registry::Address;
use crate::tenant::Tenant;
pub use admin::{ADMIN_ADDRESS, AdminConfig, AdminToken, TokenHash, new_token};
pub use batch::BatchConfig;
pub(crate) use batch::concurrency_or_default;
pub use error::ConfigError;
pub use raw::RawConfig;

/// The name of the broker that receivers use unless they name another.
pub const DEFAULT_BROKER: &str = "default";
/// The file in which messages are kept unless the configuration names another place.
pub const DEFAULT_FILE: &str = "wasmpost.db";

/// The largest configuration file.
pub(crate) const FILE_BYTES_MAX: Size = Size(16 << 20);

/// The configuration of a host.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name by which this host is known among those that share queues.
    pub id: String,
    /// The address of each broker, by name.
    pub brokers: BTreeMap<String, Address>,
    /// The receivers.
    pub receivers: Vec<ReceiverConfig>,
    /// The paths at which messages are taken by HTTP.
    pub ingress: Vec<IngressConfig>,
    /// The tenants, who own receivers, by name.
    pub tenants: BTreeMap<String, Tenant>,
    /// The engine for components.
    pub engine: EngineOptions,
    /// How long deliveries in flight may go on once the host is told to stop.
    pub grace: Duration,
    /// Obsolete keys of the file, and what to do about each.
    pub obsolete: Vec<String>,
    /// How `wasmpost dev` builds and tries the component.
    pub dev: DevConfig,
    /// The admin listener, if there is one.
    pub admin: Option<AdminConfig>,
}

/// How `wasmpost dev` builds and tries the component of a project.
#[derive(Debug, Clone, Default)]
pub struct DevConfig {
    /// The shell command that builds it, run in the directory of the project.
    pub build: Option<String>,
    /// The messages to send after each build.
    pub samples: Option<PathBuf>,
}

/// One receiver.
#[derive(Debug, Clone)]
pub struct ReceiverConfig {
    /// Its name, for logs and dead letters.
    pub name: String,
    /// The name of its broker.
    pub broker: String,
    /// Its queue.
    pub queue: QueueSpec,
    /// The file of its component.
    pub component: PathBuf,
    /// The place of the component in the configuration, as `file:line:column`.
    pub component_at: Option<String>,
    /// The most deliveries in flight, if it is given: 16, or twice a batch, unless it is.
    pub concurrency: Option<usize>,
    /// How messages are gathered, for a component that gets several in one call.
    pub batch: BatchConfig,
    /// When failed messages are delivered again, and when they are dead-lettered.
    pub retry: RetryPolicy,
    /// The limits of each delivery, capped by those of its tenant.
    pub limits: Limits,
    /// The permissions of the component.
    pub grants: Grants,
    /// The configuration of the component.
    pub config: BTreeMap<String, String>,
    /// The name of the broker that it publishes to, if that is another.
    pub publish_broker: Option<String>,
    /// The name of its tenant.
    pub tenant: Option<String>,
    /// The world by which its component receives, if that implements several.
    pub world: Option<String>,
    /// The topic that takes what a component answers which knows no topics.
    pub output: Option<String>,
    /// How many messages an instance is used for.
    pub reuse: u32,
    /// How many messages an instance has at a time.
    pub concurrent: u32,
}

/// A path at which messages are taken by HTTP.
#[derive(Debug, Clone)]
pub struct IngressConfig {
    /// The name of the broker that has the topic.
    pub broker: String,
    /// The address.
    pub listener: ListenerOptions,
    /// The path, the topic, and how senders prove who they are.
    pub endpoint: EndpointOptions,
}

impl Config {
    /// The configuration in a file. Paths in it are relative to its directory.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read_text(path, FILE_BYTES_MAX)?;
        Self::parse(&text, path)
    }

    /// The configuration in a text; `path` says where it is from.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let raw: RawConfig = toml::from_str(text).map_err(|error| ConfigError::syntax(path, text, &error))?;
        raw.checked(text, path)
    }

    /// A configuration of one receiver on one broker.
    pub fn of_one(receiver: ReceiverConfig, broker: Address) -> Self {
        Self {
            id: default_id(),
            brokers: [(receiver.broker.clone(), broker)].into(),
            receivers: vec![receiver],
            ingress: Vec::new(),
            tenants: BTreeMap::new(),
            engine: EngineOptions {
                cache_dir: default_cache_dir(),
                compiler: Compiler::this_program(),
                ..EngineOptions::default()
            },
            grace: raw::GRACE,
            obsolete: Vec::new(),
            dev: DevConfig::default(),
            admin: None,
        }
    }

    /// The brokers that receivers take from or publish to, and those that messages come to by HTTP, by name.
    pub fn brokers_in_use(&self) -> impl Iterator<Item = (&String, &Address)> {
        let named = |receiver: &ReceiverConfig, name: &String| {
            receiver.broker == *name || receiver.publish_broker.as_ref() == Some(name)
        };
        let is_used = move |name: &String| {
            self.receivers.iter().any(|receiver| named(receiver, name))
                || self.ingress.iter().any(|one| one.broker == *name)
        };
        self.brokers.iter().filter(move |(name, _)| is_used(name))
    }

    /// The quota of each tenant at a broker.
    pub fn quotas(&self) -> BTreeMap<String, TenantQuota> {
        self.tenants.iter().map(|(name, tenant)| (name.clone(), tenant.quota())).collect()
    }

    /// The JSON Schema of the file.
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(RawConfig)
    }
}

impl ReceiverConfig {
    /// A receiver of the queue `queue` on the default broker, with defaults for everything else.
    pub fn new(queue: &str, component: PathBuf) -> Self {
        Self {
            name: queue.to_owned(),
            broker: DEFAULT_BROKER.to_owned(),
            queue: QueueSpec::new(queue),
            component,
            component_at: None,
            concurrency: None,
            batch: BatchConfig::default(),
            retry: RetryPolicy::default(),
            limits: Limits::default(),
            grants: Grants::default(),
            config: BTreeMap::new(),
            publish_broker: None,
            tenant: None,
            world: None,
            output: None,
            reuse: 1,
            concurrent: 1,
        }
    }
}

/// The text of a plain file that has at most so many bytes.
pub(crate) fn read_text(path: &Path, max: Size) -> Result<String, ConfigError> {
    let bytes = read_plain_file(path, max).map_err(|error| ConfigError::unreadable(path, &error))?;
    String::from_utf8(bytes).map_err(|_| ConfigError::unreadable(path, &"it is not text in UTF-8"))
}

/// The directory of compiled components: `$XDG_CACHE_HOME/wasmpost`, or `~/.cache/wasmpost`. A relative path in one of
/// the variables is ignored, as an empty one is.
pub fn default_cache_dir() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("wasmpost/components"))
}

/// The reason why an id of a host is invalid, if it is.
pub(crate) fn id_fault(id: &str) -> Option<String> {
    const BYTES_MAX: usize = 128;
    let is_fit = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let is_good = !id.is_empty() && id.len() <= BYTES_MAX && id.chars().all(is_fit);
    (!is_good).then(|| format!("{id:?} is not an id of a host: up to {BYTES_MAX} letters, digits and any of . _ -"))
}

/// The name of the machine and the number of the process: no two hosts at work have both.
fn default_id() -> String {
    let system = rustix::system::uname();
    format!("{}-{}", system.nodename().to_string_lossy(), std::process::id())
}
