//! The file as it is written, and the check that turns it into a configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;
use wasmpost_delivery::{QueueSpec, RetryPolicy};
use wasmpost_sandbox::{EngineOptions, Grants, LimitCaps, Limits, Profile, Size, Span};

use super::error::place;
use super::word::{BrokerUrl, Name, Origin, Pattern};
use super::{Config, ConfigError, DEFAULT_BROKER, DEFAULT_BROKER_URL, ReceiverConfig, default_cache_dir};
use crate::tenant::Tenant;

pub(super) const CONCURRENCY: u32 = 16;
pub(super) const GRACE: Duration = Duration::from_secs(25);

/// A configuration of wasmpost.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawConfig {
    /// Where messages are kept, by name. The broker `default` is `sqlite:wasmpost.db` unless it is named here.
    #[serde(default)]
    brokers: BTreeMap<String, BrokerUrl>,
    /// What processes messages.
    #[serde(default)]
    receivers: Vec<RawReceiver>,
    /// Who owns receivers, and what all receivers of one owner may use together.
    #[serde(default)]
    tenants: BTreeMap<String, RawTenant>,
    /// The process itself.
    #[serde(default)]
    host: RawHost,
}

/// One receiver.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawReceiver {
    /// The name, for logs and dead letters; that of the queue unless given.
    name: Option<String>,
    /// The queue that it takes messages from. The queue takes from the topic of its own name.
    #[schemars(with = "Name")]
    queue: Spanned<Name>,
    /// More topics that the queue takes from.
    #[serde(default)]
    topics: Vec<Name>,
    /// The name of the broker that has the queue.
    #[schemars(with = "Option<String>")]
    broker: Option<Spanned<String>>,
    /// The file of the component, relative to this file.
    #[schemars(with = "String")]
    component: Spanned<PathBuf>,
    /// The topics that it may publish to. None unless given.
    #[serde(default)]
    #[schemars(with = "Vec<Pattern>")]
    publish: Vec<Spanned<Pattern>>,
    /// Where it may send HTTP requests, as scheme://host or scheme://host:port. Nowhere unless given. A name leads to
    /// public addresses only, unless the address is given as well.
    #[serde(default)]
    #[schemars(with = "Vec<Origin>")]
    http: Vec<Spanned<Origin>>,
    /// The most messages in flight at a time.
    #[serde(default = "concurrency")]
    #[schemars(range(min = 1))]
    concurrency: std::num::NonZeroU32,
    /// What becomes of failed messages.
    #[serde(default)]
    retry: RawRetry,
    /// What one delivery may use.
    #[serde(default)]
    limits: Limits,
    /// What the component reads through wasi:config.
    #[serde(default)]
    config: BTreeMap<String, String>,
    /// The name of its tenant.
    #[schemars(with = "Option<String>")]
    tenant: Option<Spanned<String>>,
    /// How long a delivery is leased before it has to be renewed; renewing happens by itself.
    #[serde(default = "lease")]
    lease: Span,
}

/// What becomes of failed messages.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct RawRetry {
    /// How many failures a message may have; with the last it becomes a dead letter.
    attempts: std::num::NonZeroU32,
    /// The delay after the first failure; each further failure doubles it.
    backoff_first: Span,
    /// The longest delay.
    backoff_max: Span,
    /// How much longer a delay may be at random, as a share of it.
    jitter: f64,
    /// The longest delay that a receiver can ask for.
    retry_after_max: Span,
}

/// An owner of receivers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawTenant {
    /// The most messages in flight at a time, over all its receivers.
    #[serde(default = "concurrency")]
    #[schemars(range(min = 1))]
    concurrency: std::num::NonZeroU32,
    /// The topics that its receivers can be granted. All unless given.
    publish: Option<Vec<Pattern>>,
    /// The origins that its receivers can be granted HTTP requests to. All unless given.
    http: Option<Vec<Origin>>,
    /// What no delivery of its receivers may exceed.
    #[serde(default)]
    limits: LimitCaps,
}

/// The process itself.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct RawHost {
    /// Whether tenants may attack each other: guests leave nothing behind for the next.
    hostile: bool,
    /// How accesses of guests to memory are kept in bounds: by guard pages, or by explicit checks.
    profile: RawProfile,
    /// How many instances can be live at a time.
    instances: std::num::NonZeroU32,
    /// The most memory that any delivery can be allowed.
    memory_max: Size,
    /// Where compiled components are kept between runs, relative to this file; the user's cache unless given.
    cache_dir: Option<PathBuf>,
    /// How long messages in flight may go on once the host is told to stop.
    grace: Span,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RawProfile {
    #[default]
    Guard,
    Bounds,
}

impl Default for RawRetry {
    fn default() -> Self {
        let policy = RetryPolicy::default();
        Self {
            attempts: std::num::NonZeroU32::new(policy.attempts_max).unwrap_or(std::num::NonZeroU32::MIN),
            backoff_first: Span(policy.backoff_first),
            backoff_max: Span(policy.backoff_max),
            jitter: policy.jitter,
            retry_after_max: Span(policy.retry_after_max),
        }
    }
}

impl Default for RawHost {
    fn default() -> Self {
        let engine = EngineOptions::default();
        Self {
            hostile: engine.hostile,
            profile: RawProfile::Guard,
            instances: std::num::NonZeroU32::new(engine.pool_instances).unwrap_or(std::num::NonZeroU32::MIN),
            memory_max: engine.memory_max,
            cache_dir: None,
            grace: Span(GRACE),
        }
    }
}

fn concurrency() -> std::num::NonZeroU32 {
    std::num::NonZeroU32::new(CONCURRENCY).unwrap_or(std::num::NonZeroU32::MIN)
}

fn lease() -> Span {
    Span(QueueSpec::new("").lease)
}

/// A file that is being checked.
struct Source<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Source<'_> {
    fn fault<T>(&self, at: &Spanned<T>, fault: impl Into<String>) -> ConfigError {
        ConfigError::at(self.path, self.text, at.span(), fault)
    }

    /// A path in the file, relative to its directory.
    fn resolved(&self, path: &Path) -> PathBuf {
        self.path.parent().map_or_else(|| path.to_owned(), |directory| directory.join(path))
    }
}

impl RawConfig {
    pub(super) fn checked(self, text: &str, path: &Path) -> Result<Config, ConfigError> {
        let source = Source { text, path };
        let mut brokers: BTreeMap<_, _> =
            self.brokers.into_iter().map(|(name, url)| (name, relative_to(&source, url.0))).collect();
        brokers.entry(DEFAULT_BROKER.to_owned()).or_insert_with(|| relative_to(&source, DEFAULT_BROKER_URL.to_owned()));
        let tenants: BTreeMap<_, _> = self.tenants.into_iter().map(|(name, raw)| (name, raw.into_tenant())).collect();
        let mut receivers: Vec<ReceiverConfig> = Vec::new();
        for raw in self.receivers {
            let at = raw.queue.clone();
            let receiver = raw.checked(&source, &brokers, &tenants)?;
            if receivers.iter().any(|other| other.name == receiver.name) {
                let fault = format!("a second receiver is named {:?}; give one of them another name", receiver.name);
                return Err(source.fault(&at, fault));
            }
            if let Some(other) = receivers
                .iter()
                .find(|other| other.queue.name == receiver.queue.name && other.broker == receiver.broker)
            {
                let (queue, other) = (&receiver.queue.name, &other.name);
                let fault = format!("queue {queue:?} has receiver {other:?} already; a queue has one receiver");
                return Err(source.fault(&at, fault));
            }
            receivers.push(receiver);
        }
        let (engine, grace) = (self.host.engine(&source), self.host.grace.0);
        Ok(Config { brokers, receivers, tenants, engine, grace })
    }
}

impl RawReceiver {
    fn checked(
        self,
        source: &Source<'_>,
        brokers: &BTreeMap<String, String>,
        tenants: &BTreeMap<String, Tenant>,
    ) -> Result<ReceiverConfig, ConfigError> {
        let queue = self.queue.get_ref().0.clone();
        if let Some(broker) = self.broker.as_ref().filter(|broker| !brokers.contains_key(broker.get_ref())) {
            let fault = format!("unknown broker {:?}; name it under [brokers]", broker.get_ref());
            return Err(source.fault(broker, fault));
        }
        let mut limits = self.limits;
        if let Some(name) = &self.tenant {
            let Some(tenant) = tenants.get(name.get_ref()) else {
                let fault = format!("unknown tenant {0:?}; describe it under [tenants.{0}]", name.get_ref());
                return Err(source.fault(name, fault));
            };
            if let Some(pattern) = self.publish.iter().find(|pattern| !tenant.may_grant(&pattern.get_ref().0)) {
                let (granted, tenant) = (&pattern.get_ref().0, name.get_ref());
                let fault = format!("tenant {tenant:?} may not publish to \"{granted}\"");
                return Err(source.fault(pattern, fault));
            }
            if let Some(origin) = self.http.iter().find(|origin| !tenant.may_grant_http(&origin.get_ref().0)) {
                let (granted, tenant) = (&origin.get_ref().0, name.get_ref());
                let fault = format!("tenant {tenant:?} may not send HTTP requests to \"{granted}\"");
                return Err(source.fault(origin, fault));
            }
            limits = limits.capped_by(&tenant.limits);
        }
        let (line, column) = place(source.text, self.component.span().start);
        Ok(ReceiverConfig {
            name: self.name.unwrap_or_else(|| queue.clone()),
            broker: self.broker.map_or_else(|| DEFAULT_BROKER.to_owned(), Spanned::into_inner),
            queue: QueueSpec {
                topics: self.topics.into_iter().map(|topic| topic.0).collect(),
                lease: self.lease.0,
                ..QueueSpec::new(queue)
            },
            component: source.resolved(self.component.get_ref()),
            component_at: Some(format!("{}:{line}:{column}", source.path.display())),
            concurrency: self.concurrency.get() as usize,
            retry: self.retry.policy(),
            limits,
            grants: Grants {
                publish: self.publish.into_iter().map(|pattern| pattern.into_inner().0).collect(),
                http: self.http.into_iter().map(|origin| origin.into_inner().0).collect(),
            },
            config: self.config,
            tenant: self.tenant.map(Spanned::into_inner),
        })
    }
}

impl RawRetry {
    fn policy(&self) -> RetryPolicy {
        RetryPolicy {
            attempts_max: self.attempts.get(),
            backoff_first: self.backoff_first.0,
            backoff_max: self.backoff_max.0,
            jitter: self.jitter.clamp(0.0, 10.0),
            retry_after_max: self.retry_after_max.0,
            ..RetryPolicy::default()
        }
    }
}

impl RawTenant {
    fn into_tenant(self) -> Tenant {
        let publish = self.publish.map(|patterns| patterns.into_iter().map(|pattern| pattern.0).collect());
        let http = self.http.map(|origins| origins.into_iter().map(|origin| origin.0).collect());
        Tenant { concurrency: self.concurrency.get() as usize, publish, limits: self.limits, http }
    }
}

impl RawHost {
    fn engine(&self, source: &Source<'_>) -> EngineOptions {
        let given = self.cache_dir.as_deref().map(|directory| source.resolved(directory));
        EngineOptions {
            pool_instances: self.instances.get(),
            memory_max: self.memory_max,
            cache_dir: given.or_else(default_cache_dir),
            hostile: self.hostile,
            profile: match self.profile {
                RawProfile::Guard => Profile::Guard,
                RawProfile::Bounds => Profile::Bounds,
            },
            ..EngineOptions::default()
        }
    }
}

/// The path in a URL, too, is relative to the directory of the file.
fn relative_to(source: &Source<'_>, url: String) -> String {
    match url.strip_prefix("sqlite:") {
        Some(path) => format!("sqlite:{}", source.resolved(Path::new(path)).display()),
        None => url,
    }
}
