//! The table of brokers: which scheme of a URL opens which.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use url::Url;
#[cfg(feature = "nats")]
use wasmpost_broker_nats::{NatsBroker, NatsCoreBroker};
#[cfg(feature = "rabbitmq")]
use wasmpost_broker_rabbitmq::{RabbitBroker, RabbitOptions};
pub(crate) use wasmpost_broker_sqlite::ACK_FLUSH_MAX;
use wasmpost_broker_sqlite::{ACK_FLUSH, Durability, SqliteBroker, SqliteOptions};
use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
use wasmpost_delivery::{Access, Broker, BrokerError, BrokerErrorKind, QueueSpec, Site};

use crate::identity::{FileIdentity, Identity};

/// A kind of broker.
pub struct Scheme {
    /// The scheme of its URLs, without the colon.
    pub name: &'static str,
    /// An example of a URL.
    pub example: &'static str,
    /// A description in one line.
    pub what: &'static str,
    /// Whether it is a server, which may require authentication.
    pub is_remote: bool,
    /// Whether it keeps quotas of tenants.
    pub keeps_quotas: bool,
    /// Whether it drops a message whose id it stored before.
    pub deduplicates: bool,
    /// Checks a URL without user and password, and gives where the server is, if it is one.
    pub check: fn(&str) -> Result<Option<Site>, BrokerError>,
    /// Checks the credentials, as far as that can be done without connecting.
    pub check_access: fn(Address) -> Checking,
    /// Checks whether there can be such a queue.
    pub check_queue: fn(&QueueSpec) -> Result<(), BrokerError>,
    /// Opens the broker of an address.
    pub open: fn(Address) -> Opening,
}

/// A broker's address and credentials.
#[derive(Debug, Clone)]
pub struct Address {
    url: String,
    /// The place of the server, if it is one.
    site: Option<Site>,
    /// The credentials.
    pub access: Access,
    /// How long to wait for a queue file that other processes have.
    pub patience: Duration,
    /// The purpose for which a queue file is opened.
    pub purpose: Purpose,
    /// When acknowledgements are on disk, in a queue file.
    pub acks: Acks,
}

/// When the acknowledgements of a queue file are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// Before each is answered.
    AtOnce,
    /// After so long at most: they are stored together.
    Within(Duration),
}

impl Default for Acks {
    fn default() -> Self {
        Self::Within(ACK_FLUSH)
    }
}

/// The purpose for which a queue file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// To change what is in it.
    #[default]
    Change,
    /// To serve it, for which it is looked over for damage.
    Serve,
    /// To look at it, for which it need not be writable.
    Look,
}

/// Access that is being checked.
pub type Checking = BoxFuture<'static, Result<(), BrokerError>>;

/// A broker that is being opened.
pub type Opening = BoxFuture<'static, Result<Arc<dyn Broker>, BrokerError>>;

/// Every kind of broker.
pub const SCHEMES: &[Scheme] = &[
    Scheme {
        name: "sqlite",
        example: "sqlite:wasmpost.db",
        what: "the embedded durable queue, in one file",
        is_remote: false,
        keeps_quotas: true,
        deduplicates: true,
        check: check_sqlite,
        check_access: |_| Box::pin(async { Ok(()) }),
        check_queue: QueueSpec::check,
        open: |address| Box::pin(open_sqlite(address)),
    },
    Scheme {
        name: "memory",
        example: "memory:",
        what: "in memory, gone with the process",
        is_remote: false,
        keeps_quotas: true,
        deduplicates: true,
        check: check_memory,
        check_access: |_| Box::pin(async { Ok(()) }),
        check_queue: QueueSpec::check,
        open: |address| Box::pin(open_memory(address)),
    },
    #[cfg(feature = "nats")]
    Scheme {
        name: "nats",
        example: "nats://localhost:4222/wasmpost",
        what: "NATS JetStream, shared by several hosts",
        is_remote: true,
        keeps_quotas: false,
        deduplicates: true,
        check: |url| NatsBroker::site(url).map(Some),
        check_access: |address| Box::pin(async move { NatsBroker::check_access(&address.access).await }),
        check_queue: QueueSpec::check,
        open: |address| Box::pin(open_nats(address)),
    },
    #[cfg(feature = "nats")]
    Scheme {
        name: "nats-core",
        example: "nats-core://localhost:4222",
        what: "NATS without streams, at most once: nothing is kept, what fails is lost",
        is_remote: true,
        keeps_quotas: false,
        deduplicates: false,
        check: |url| NatsCoreBroker::site(url).map(Some),
        check_access: |address| Box::pin(async move { NatsBroker::check_access(&address.access).await }),
        check_queue: NatsCoreBroker::check_queue,
        open: |address| Box::pin(open_nats_core(address)),
    },
    #[cfg(feature = "rabbitmq")]
    Scheme {
        name: "amqp",
        example: "amqp://localhost:5672/vhost",
        what: "RabbitMQ, shared by several hosts",
        is_remote: true,
        keeps_quotas: false,
        deduplicates: false,
        check: |url| RabbitBroker::site(url).map(Some),
        check_access: |address| Box::pin(async move { RabbitBroker::check_access(address.url(), &address.access) }),
        check_queue: RabbitBroker::check_queue,
        open: |address| Box::pin(open_rabbitmq(address)),
    },
    #[cfg(feature = "rabbitmq")]
    Scheme {
        name: "amqps",
        example: "amqps://rabbit.example:5671/vhost",
        what: "the same, encrypted",
        is_remote: true,
        keeps_quotas: false,
        deduplicates: false,
        check: |url| RabbitBroker::site(url).map(Some),
        check_access: |address| Box::pin(async move { RabbitBroker::check_access(address.url(), &address.access) }),
        check_queue: RabbitBroker::check_queue,
        open: |address| Box::pin(open_rabbitmq(address)),
    },
];

/// Kinds of brokers that are built in only when asked for: the scheme, and the feature of the build.
const OPTIONAL: &[(&str, &str)] =
    &[("nats", "nats"), ("nats-core", "nats"), ("amqp", "rabbitmq"), ("amqps", "rabbitmq")];

impl Address {
    /// The address that a URL tells, with all of the URL checked. A user and a password in it become part of the access,
    /// so that the URL can be shown.
    pub fn parse(url: &str) -> Result<Self, BrokerError> {
        let scheme = scheme(url)?;
        let mut access = Access::default();
        if !scheme.is_remote {
            return Ok(Self {
                url: url.to_owned(),
                site: (scheme.check)(url)?,
                access,
                patience: Duration::ZERO,
                purpose: Purpose::default(),
                acks: Acks::default(),
            });
        }
        let invalid = |fault: &dyn fmt::Display| {
            // A URL that cannot be parsed is not shown: it may contain a password.
            let example = scheme.example;
            invalid(format!(
                "URL of a broker begins with {}: but cannot be read ({fault}); write {example}",
                scheme.name
            ))
        };
        let mut parsed = Url::parse(url).map_err(|error| invalid(&error))?;
        if parsed.host_str().is_none_or(str::is_empty) {
            return Err(invalid(&"it names no host"));
        }
        if !parsed.username().is_empty() {
            access.user = Some(decoded(parsed.username()));
        }
        access.password = parsed.password().map(|password| decoded(password).into());
        let stripped = parsed.set_username("").and_then(|()| parsed.set_password(None));
        stripped.map_err(|()| invalid(&"it has a user where none can be"))?;
        let url = String::from(parsed);
        Ok(Self {
            site: (scheme.check)(&url)?,
            url,
            access,
            patience: Duration::ZERO,
            purpose: Purpose::default(),
            acks: Acks::default(),
        })
    }

    /// The embedded queue in a file.
    pub fn of_file(path: &Path) -> Self {
        Self {
            url: format!("sqlite:{}", path.display()),
            site: None,
            access: Access::default(),
            patience: Duration::ZERO,
            purpose: Purpose::default(),
            acks: Acks::default(),
        }
    }

    /// The URL, without any secret.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL without the scheme and its colon.
    pub fn rest(&self) -> &str {
        self.url.split_once(':').map_or("", |(_, rest)| rest)
    }

    /// The kind of broker.
    pub fn scheme(&self) -> Result<&'static Scheme, BrokerError> {
        scheme(&self.url)
    }

    /// Checks the credentials, as far as that can be done without connecting.
    pub async fn check_access(&self) -> Result<(), BrokerError> {
        (self.scheme()?.check_access)(self.clone()).await
    }

    /// The identity of the broker, whatever its spelling; none for one in memory, which is never that of another
    /// address.
    pub fn identity(&self) -> Option<Identity> {
        let file = || self.file().map(|file| Identity::File(FileIdentity::of(&file)));
        self.site.clone().map(Identity::Server).or_else(file)
    }

    /// Whether both lead to one broker.
    pub fn is_same_broker(&self, other: &Self) -> bool {
        match (self.identity(), other.identity()) {
            (Some(one), Some(other)) => one.is_same(&other),
            _ => false,
        }
    }

    /// Whether one connection serves both: they lead to one broker, and a server is told the same by both.
    pub fn is_shared_with(&self, other: &Self) -> bool {
        let is_told_alike = self.site.is_none() || self.url == other.url && self.access.is_same(&other.access);
        self.is_same_broker(other) && is_told_alike
    }

    /// Opens the broker.
    pub async fn open(&self) -> Result<Arc<dyn Broker>, BrokerError> {
        (self.scheme()?.open)(self.clone()).await
    }

    /// The file of an embedded queue, where the URL names one.
    pub fn file(&self) -> Option<PathBuf> {
        self.url.strip_prefix("sqlite:").map(PathBuf::from)
    }

    /// Whether what is in the broker is gone with the process.
    pub fn is_in_memory(&self) -> bool {
        self.url.starts_with("memory:")
    }

    /// The same with the path in it, where there is one, as `resolve` says.
    #[must_use]
    pub fn resolved(mut self, resolve: impl FnOnce(&Path) -> PathBuf) -> Self {
        if let Some(file) = self.file() {
            self.url = Self::of_file(&resolve(&file)).url;
        }
        self
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.url)
    }
}

/// The kind of broker that a URL names.
fn scheme(url: &str) -> Result<&'static Scheme, BrokerError> {
    let known = || SCHEMES.iter().map(|scheme| scheme.example).collect::<Vec<_>>().join(", ");
    let Some((name, _)) = url.split_once(':') else {
        return Err(invalid(format!("broker {url:?} is not a URL; known schemes are {}", known())));
    };
    if let Some(found) = SCHEMES.iter().find(|scheme| scheme.name == name) {
        return Ok(found);
    }
    Err(match OPTIONAL.iter().find(|(optional, _)| *optional == name) {
        Some((_, feature)) => invalid(format!("brokers at {name}: are not built in; build with --features {feature}")),
        None => invalid(format!("unknown broker scheme {name:?}; known are {}", known())),
    })
}

fn invalid(fault: impl Into<String>) -> BrokerError {
    BrokerError::new(BrokerErrorKind::Invalid, fault)
}

/// A part of a URL as it was meant.
fn decoded(part: &str) -> String {
    percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned()
}

fn check_sqlite(url: &str) -> Result<Option<Site>, BrokerError> {
    match url.strip_prefix("sqlite:") {
        None | Some("") => Err(invalid("sqlite: names no file; write sqlite:wasmpost.db")),
        Some(":memory:") => {
            let advice = "write memory: for a queue in memory, or sqlite:./:memory: for a file of that name";
            Err(invalid(format!("sqlite::memory: is not a queue file; {advice}")))
        }
        // Three slashes mean a path from the root to some programs, and one from the current directory to others.
        Some(rest) if rest.starts_with("//") => {
            let name = rest.trim_start_matches('/');
            let advice = format!("write sqlite:{name} for a path from here, or sqlite:/{name} for one from the root");
            Err(invalid(format!("{url} can be understood in two ways; {advice}")))
        }
        Some(_) => Ok(None),
    }
}

fn check_memory(url: &str) -> Result<Option<Site>, BrokerError> {
    match url.strip_prefix("memory:") {
        Some("") => Ok(None),
        _ => Err(invalid("memory: takes nothing behind the colon")),
    }
}

async fn open_sqlite(address: Address) -> Result<Arc<dyn Broker>, BrokerError> {
    let looks = address.purpose == Purpose::Serve;
    let mut options = SqliteOptions { patience: address.patience, looks, ..SqliteOptions::default() };
    match address.acks {
        Acks::AtOnce => options.durability = Durability::Full,
        Acks::Within(ack_flush) => options.ack_flush = ack_flush,
    }
    let file = Path::new(address.rest());
    if address.purpose == Purpose::Look {
        return SqliteBroker::open_to_look(file, options).await;
    }
    let broker: Arc<dyn Broker> = SqliteBroker::open(file, options).await?;
    Ok(broker)
}

async fn open_memory(_: Address) -> Result<Arc<dyn Broker>, BrokerError> {
    Ok(Arc::new(MemoryBroker::new(MemoryOptions::default())))
}

#[cfg(feature = "nats")]
async fn open_nats(address: Address) -> Result<Arc<dyn Broker>, BrokerError> {
    let broker: Arc<dyn Broker> = NatsBroker::open(address.url(), &address.access).await?;
    Ok(broker)
}

#[cfg(feature = "nats")]
async fn open_nats_core(address: Address) -> Result<Arc<dyn Broker>, BrokerError> {
    let broker: Arc<dyn Broker> = NatsCoreBroker::open(address.url(), &address.access).await?;
    Ok(broker)
}

#[cfg(feature = "rabbitmq")]
async fn open_rabbitmq(address: Address) -> Result<Arc<dyn Broker>, BrokerError> {
    let options = RabbitOptions { access: address.access.clone(), ..RabbitOptions::default() };
    let broker: Arc<dyn Broker> = RabbitBroker::open(address.url(), options).await?;
    Ok(broker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_is_not_built_in_names_the_feature_that_builds_it() {
        for (name, feature) in OPTIONAL {
            let parsed = Address::parse(&format!("{name}://broker.test"));
            match SCHEMES.iter().any(|scheme| scheme.name == *name) {
                true => assert!(parsed.is_ok()),
                false => assert!(parsed.unwrap_err().to_string().contains(&format!("--features {feature}"))),
            }
        }
    }

    #[test]
    fn an_embedded_broker_is_addressed_by_its_path() {
        let address = Address::parse("sqlite:a b/@c.db").unwrap();
        assert_eq!(address.file(), Some(PathBuf::from("a b/@c.db")));
        let resolved = address.resolved(|path| Path::new("/srv").join(path));
        assert_eq!(resolved.url(), "sqlite:/srv/a b/@c.db");
        assert!(!resolved.access.is_given());
    }

    #[test]
    fn a_url_that_other_programs_write_for_sqlite_is_refused_with_the_one_that_is_meant() {
        for (url, meant) in [
            ("sqlite://orders.db", "sqlite:orders.db"),
            ("sqlite:///srv/orders.db", "sqlite:/srv/orders.db"),
            ("sqlite::memory:", "memory:"),
            ("sqlite:", "sqlite:wasmpost.db"),
            ("memory:orders", "nothing behind"),
        ] {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(error.contains(meant), "{error}");
        }
        assert!(Address::parse("sqlite:/srv/orders.db").is_ok() && Address::parse("sqlite:./:memory:").is_ok());
    }

    #[test]
    fn an_unknown_scheme_is_refused_with_those_that_are_known() {
        for url in ["carrier-pigeon://loft", "orders"] {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(error.contains("sqlite:wasmpost.db"), "{error}");
        }
    }
}
