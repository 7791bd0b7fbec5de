//! The file as it is written, and the check that turns it into a configuration.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;
use wasmpost_delivery::{QueueSpec, RetryPolicy};
use wasmpost_msg::{qualified, tenant_of};
use wasmpost_sandbox::{Grants, Limits, Size, Span};

use super::batch::RawBatch;
use super::raw_admin::RawAdmin;
use super::raw_broker::RawBroker;
use super::raw_dev::RawDev;
use super::raw_host::{RawEngine, RawHost};
use super::raw_ingress::{self, RawIngress};
use super::raw_promise;
use super::raw_tenant::RawTenant;
use super::word::{Concurrent, Name, Origin, Pattern, TenantName};
use super::{Config, ConfigError, DEFAULT_BROKER, DEFAULT_FILE, ReceiverConfig};
use crate::registry::Address;
use crate::tenant::Tenant;

pub(super) const CONCURRENCY: u32 = 16;
pub(super) const GRACE: Duration = Duration::from_secs(25);

/// A configuration of wasmpost.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawConfig {
    /// The brokers, by name: a URL, or a table with a URL and credentials. The broker `default` is `sqlite:wasmpost.db`
    /// unless it is named here.
    #[serde(default)]
    brokers: BTreeMap<String, RawBroker>,
    /// The receivers.
    #[serde(default)]
    receivers: Vec<RawReceiver>,
    /// The paths at which messages are taken by HTTP.
    #[serde(default)]
    ingress: Vec<RawIngress>,
    /// The tenants, who own receivers, and limits for all receivers of a tenant together.
    #[serde(default)]
    #[schemars(with = "BTreeMap<TenantName, RawTenant>")]
    tenants: BTreeMap<TenantName, Spanned<RawTenant>>,
    /// The process itself.
    #[serde(default)]
    host: RawHost,
    /// The engine that runs components.
    #[serde(default)]
    engine: RawEngine,
    /// How `wasmpost dev` builds and tries the component; without effect elsewhere.
    #[serde(default)]
    dev: RawDev,
    /// The admin listener: health, metrics, the JSON API and the page.
    admin: Option<RawAdmin>,
}

/// One receiver.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawReceiver {
    /// The name, for logs and dead letters; that of the queue unless given.
    name: Option<String>,
    /// The queue that it takes messages from. The queue takes from the topic of its own name. That of a tenant's
    /// receiver is within the tenant: its name elsewhere is @tenant/queue.
    #[schemars(with = "Name")]
    queue: Spanned<Name>,
    /// More topics that the queue takes from; those of another tenant by their whole names, @tenant/topic, if its own is
    /// described as one that may.
    #[serde(default)]
    #[schemars(with = "Vec<Name>")]
    topics: Vec<Spanned<Name>>,
    /// The name of the broker that has the queue.
    #[schemars(with = "Option<String>")]
    broker: Option<Spanned<String>>,
    /// The name of the broker that it publishes to, if not the one that has the queue. Publishing is confirmed there before
    /// the message is acknowledged here.
    #[schemars(with = "Option<String>")]
    publish_broker: Option<Spanned<String>>,
    /// The file of the component, relative to this file.
    #[schemars(with = "String")]
    component: Spanned<PathBuf>,
    /// The topics that it may publish to; those of another tenant by their whole names, @tenant/topic. None unless
    /// given.
    #[serde(default)]
    #[schemars(with = "Vec<Pattern>")]
    publish: Vec<Spanned<Pattern>>,
    /// The origins that it may send HTTP requests to, as scheme://host or scheme://host:port. None unless given. A name
    /// leads to public addresses only, unless the address is given as well.
    #[serde(default)]
    #[schemars(with = "Vec<Origin>")]
    http: Vec<Spanned<Origin>>,
    /// The most messages in flight at a time: 16, or twice a batch where the component gets several messages in one call,
    /// unless given.
    #[schemars(range(min = 1))]
    concurrency: Option<NonZeroU32>,
    /// The most messages in one call of a component that gets several, up to 256: 64, or as many as may be in flight, unless
    /// given.
    #[schemars(with = "Option<NonZeroU32>")]
    batch: Option<Spanned<NonZeroU32>>,
    /// How long the first message of a call waits for others, up to a minute: 5 ms unless given.
    #[schemars(with = "Option<Span>")]
    batch_wait: Option<Spanned<Span>>,
    /// The most bytes of bodies and attributes in one call, up to 64 MiB: 4 MiB unless given. A larger message comes alone.
    #[schemars(with = "Option<Size>")]
    batch_bytes: Option<Spanned<Size>>,
    /// When failed messages are delivered again, and when they are dead-lettered.
    #[serde(default)]
    retry: RawRetry,
    /// The limits of one delivery.
    #[serde(default)]
    limits: Limits,
    /// The configuration that the component reads through wasi:config.
    #[serde(default)]
    config: BTreeMap<String, String>,
    /// The world by which the component receives, such as wasi:http/incoming-handler; needed where it implements several.
    world: Option<String>,
    /// The topic that takes what the component answers, where its world knows no topics: the standard output of a
    /// command, or the body of a response. That of another tenant by its whole name, @tenant/topic.
    #[schemars(with = "Option<Name>")]
    output: Option<Spanned<Name>>,
    /// How many messages an instance is used for. With more than 1, what a message leaves in memory is there for the
    /// next one; an instance that failed is never used again.
    #[serde(default = "once")]
    #[schemars(range(min = 1))]
    reuse: NonZeroU32,
    /// How many messages an instance may have at a time. More than 1 takes an asynchronous component. One that traps, runs
    /// into a limit or takes too long ends the instance, and the others are given back.
    #[serde(default)]
    concurrent: Concurrent,
    /// The name of its tenant.
    #[schemars(with = "Option<String>")]
    tenant: Option<Spanned<String>>,
    /// How long a delivery is leased before it has to be renewed; renewing happens by itself.
    #[serde(default = "lease")]
    lease: Span,
}

/// When failed messages are delivered again, and when they are dead-lettered.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct RawRetry {
    /// How many failures a message may have; with the last it becomes a dead letter.
    attempts: NonZeroU32,
    /// The delay after the first failure; each further failure doubles it.
    backoff_first: Span,
    /// The longest delay.
    backoff_max: Span,
    /// How much longer a delay may be at random, as a share of it.
    jitter: f64,
    /// The longest delay that a receiver can ask for.
    retry_after_max: Span,
}

impl Default for RawRetry {
    fn default() -> Self {
        let policy = RetryPolicy::default();
        Self {
            attempts: NonZeroU32::new(policy.attempts_max).unwrap_or(NonZeroU32::MIN),
            backoff_first: Span(policy.backoff_first),
            backoff_max: Span(policy.backoff_max),
            jitter: policy.jitter,
            retry_after_max: Span(policy.retry_after_max),
        }
    }
}

pub(super) fn concurrency() -> NonZeroU32 {
    NonZeroU32::new(CONCURRENCY).unwrap_or(NonZeroU32::MIN)
}

fn once() -> NonZeroU32 {
    NonZeroU32::MIN
}

fn lease() -> Span {
    Span(QueueSpec::new("").lease)
}

/// A file that is being checked.
pub(super) struct Source<'a> {
    text: &'a str,
    path: &'a Path,
    /// The offset of each line.
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    fn new(text: &'a str, path: &'a Path) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, path, lines: std::iter::once(0).chain(ends).collect() }
    }

    /// A place in the file as people write it.
    fn at(&self, byte: usize) -> String {
        let line = self.lines.partition_point(|begin| *begin <= byte);
        let begin = line.checked_sub(1).and_then(|line| self.lines.get(line)).copied().unwrap_or(0);
        let column = self.text.get(begin..byte).map_or(0, |before| before.chars().count()) + 1;
        format!("{}:{line}:{column}", self.path.display())
    }

    pub(super) fn fault<T>(&self, at: &Spanned<T>, fault: impl Into<String>) -> ConfigError {
        ConfigError::at(self.path, self.text, at.span(), fault)
    }

    /// A path in the file, relative to its directory.
    pub(super) fn resolved(&self, path: &Path) -> PathBuf {
        self.path.parent().map_or_else(|| path.to_owned(), |directory| directory.join(path))
    }
}

impl RawConfig {
    pub(super) fn checked(self, text: &str, path: &Path) -> Result<Config, ConfigError> {
        let source = Source::new(text, path);
        let checked = |(name, broker): (String, RawBroker)| Ok((name, broker.checked(&source)?));
        let mut brokers = self.brokers.into_iter().map(checked).collect::<Result<BTreeMap<_, _>, ConfigError>>()?;
        if !brokers.contains_key(DEFAULT_BROKER) {
            let file = source.resolved(Path::new(DEFAULT_FILE));
            brokers.insert(DEFAULT_BROKER.to_owned(), Address::of_file(&file));
        }
        let table = |(name, raw): (&TenantName, &Spanned<RawTenant>)| (name.0.clone(), Spanned::new(raw.span(), ()));
        let tables: BTreeMap<_, _> = self.tenants.iter().map(table).collect();
        let tenant = |(name, raw): (TenantName, Spanned<RawTenant>)| (name.0, raw.into_inner().into_tenant());
        let tenants: BTreeMap<_, _> = self.tenants.into_iter().map(tenant).collect();
        let mut receivers: Vec<ReceiverConfig> = Vec::new();
        let mut names = HashSet::new();
        let mut queues = HashMap::new();
        for raw in self.receivers {
            let at = raw.queue.clone();
            let receiver = raw.checked(&source, &brokers, &tenants)?;
            if !names.insert(receiver.name.clone()) {
                let fault = format!("a second receiver is named {:?}; give one of them another name", receiver.name);
                return Err(source.fault(&at, fault));
            }
            // One broker can have several names.
            let is_it = |(_, other): &(&String, &Address)| {
                brokers.get(&receiver.broker).is_some_and(|own| own.is_same_broker(other))
            };
            let broker = brokers.iter().find(is_it).map_or(&receiver.broker, |(name, _)| name);
            let place = (broker.clone(), receiver.queue.name.clone());
            if let Some(other) = queues.insert(place, receiver.name.clone()) {
                let queue = &receiver.queue.name;
                let fault = format!("queue {queue:?} has receiver {other:?} already; a queue has one receiver");
                return Err(source.fault(&at, fault));
            }
            receivers.push(receiver);
        }
        let ingress = raw_ingress::checked(self.ingress, &source, &brokers, &tenants)?;
        let is_hostile = self.host.is_hostile();
        raw_promise::check_quotas(&source, &brokers, (&receivers, &ingress), &tenants, &tables, is_hostile)?;
        let engine = self.host.engine(&source);
        let grace = self.host.grace();
        let id = self.host.id();
        let obsolete = self.engine.obsolete();
        let dev = self.dev.checked(&source);
        let admin = self.admin.map(|admin| admin.checked(&source, &tenants)).transpose()?;
        Ok(Config { id, brokers, receivers, ingress, tenants, engine, grace, obsolete, dev, admin })
    }
}

impl RawReceiver {
    fn checked(
        self,
        source: &Source<'_>,
        brokers: &BTreeMap<String, Address>,
        tenants: &BTreeMap<String, Tenant>,
    ) -> Result<ReceiverConfig, ConfigError> {
        let named = self.broker.iter().chain(&self.publish_broker);
        if let Some(broker) = named.into_iter().find(|broker| !brokers.contains_key(broker.get_ref())) {
            let fault = format!("unknown broker {:?}; name it under [brokers]", broker.get_ref());
            return Err(source.fault(broker, fault));
        }
        if tenant_of(&self.queue.get_ref().0).is_some() {
            let fault = "name the queue without its tenant; say whose it is with tenant = \"...\"";
            return Err(source.fault(&self.queue, fault));
        }
        self.check_tenants(source, tenants)?;
        let name = self.tenant.as_ref().map(Spanned::get_ref);
        let tenant = name.and_then(|name| tenants.get(name));
        let limits = tenant.map_or_else(|| self.limits.clone(), |tenant| self.limits.capped_by(&tenant.limits));
        // A single delivery may not exceed the memory of its tenant.
        let memory = limits.memory.min(tenant.map_or(limits.memory, |tenant| tenant.memory));
        let within = |topic: &str| match tenant_of(topic) {
            Some(_) => topic.to_owned(),
            None => qualified(name.map(String::as_str), topic),
        };
        let queue = within(&self.queue.get_ref().0);
        let at = source.at(self.component.span().start);
        let publish = self.publish.into_iter().map(|pattern| pattern.into_inner().0).collect();
        let http = self.http.into_iter().map(|origin| origin.into_inner().0).collect();
        let batch = RawBatch {
            messages: self.batch.as_ref(),
            wait: self.batch_wait.as_ref(),
            bytes: self.batch_bytes.as_ref(),
            concurrency: self.concurrency,
        };
        let batch = batch.checked(source)?;
        let broker = self.broker.map_or_else(|| DEFAULT_BROKER.to_owned(), Spanned::into_inner);
        Ok(ReceiverConfig {
            publish_broker: self.publish_broker.map(Spanned::into_inner).filter(|other| *other != broker),
            name: self.name.unwrap_or_else(|| queue.clone()),
            broker,
            queue: QueueSpec {
                topics: self.topics.iter().map(|topic| within(&topic.get_ref().0)).collect(),
                lease: self.lease.0,
                ..QueueSpec::new(queue)
            },
            component: source.resolved(self.component.get_ref()),
            component_at: Some(at),
            concurrency: self.concurrency.map(|concurrency| concurrency.get() as usize),
            batch,
            retry: self.retry.policy(),
            grants: Grants { tenant: name.cloned(), publish, http },
            limits: Limits { memory, ..limits },
            config: self.config,
            world: self.world,
            output: self.output.map(|topic| within(&topic.get_ref().0)),
            reuse: self.reuse.get(),
            concurrent: self.concurrent.0,
            tenant: self.tenant.map(Spanned::into_inner),
        })
    }

    /// Whether every tenant that is named exists, and may have what its receiver is granted.
    fn check_tenants(&self, source: &Source<'_>, tenants: &BTreeMap<String, Tenant>) -> Result<(), ConfigError> {
        let unknown = |name: &str| format!("unknown tenant {name:?}; describe it under [tenants.{name}]");
        if let Some(name) = self.tenant.as_ref().filter(|name| !tenants.contains_key(name.get_ref())) {
            return Err(source.fault(name, unknown(name.get_ref())));
        }
        for topic in &self.topics {
            let wanted = &topic.get_ref().0;
            let Some(other) = tenant_of(wanted) else { continue };
            if !tenants.contains_key(other) {
                return Err(source.fault(topic, unknown(other)));
            }
            let name = self.tenant.as_ref().map(Spanned::get_ref);
            let may = |name: &&String| tenants.get(*name).is_none_or(|tenant| tenant.may_take(name, wanted));
            if let Some(name) = name.filter(|name| !may(name)) {
                let fault =
                    format!("tenant {name:?} may not take from \"{wanted}\"; name it in topics under [tenants.{name}]");
                return Err(source.fault(topic, fault));
            }
        }
        let output = self.output.iter().filter_map(|topic| {
            let pattern = topic.get_ref().0.parse().ok()?;
            Some(Spanned::new(topic.span(), pattern))
        });
        for pattern in self.publish.iter().cloned().chain(output) {
            let wanted = &pattern.get_ref().0;
            let pattern = &pattern;
            if let Some(other) = wanted.tenant().filter(|other| !tenants.contains_key(*other)) {
                return Err(source.fault(pattern, unknown(other)));
            }
            let name = self.tenant.as_ref().map(Spanned::get_ref);
            if let Some(name) = name.filter(|name| tenants.get(*name).is_some_and(|tenant| !tenant.may_grant(wanted))) {
                let fault = format!(
                    "tenant {name:?} may not publish to \"{wanted}\"; name it in publish under [tenants.{name}]"
                );
                return Err(source.fault(pattern, fault));
            }
        }
        let Some(name) = self.tenant.as_ref().map(Spanned::get_ref) else { return Ok(()) };
        let may = |origin: &Origin| tenants.get(name).is_none_or(|tenant| tenant.may_grant_http(&origin.0));
        match self.http.iter().find(|origin| !may(origin.get_ref())) {
            Some(origin) => {
                let wanted = &origin.get_ref().0;
                let fault = format!("tenant {name:?} may not send HTTP requests to \"{wanted}\"");
                Err(source.fault(origin, fault))
            }
            None => Ok(()),
        }
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
