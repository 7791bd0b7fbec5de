//! The URL of the broker.

use std::str::FromStr;
use std::time::Duration;

use async_nats::jetstream::stream::StorageType;
use url::Url;
use wasmpost_delivery::{BrokerError, Site};

use crate::error::invalid;
use crate::names::Names;

/// The stream, where the URL names none.
const DEFAULT_STREAM: &str = "wasmpost";
/// The port of a server that names none.
const PORT: u16 = 4222;
/// The partitions of ordering keys, where nothing else is said when the stream is made.
pub(crate) const DEFAULT_PARTITIONS: u64 = 8;
/// The most partitions of ordering keys: each is a consumer of each queue.
const PARTITIONS_MAX: u64 = 256;
/// How many messages of a queue may be out at a time, those included that wait for a redelivery.
const DEFAULT_IN_FLIGHT: i64 = 100_000;
/// The parameters of the URL.
const PARAMETERS: &[&str] = &[
    "servers",
    "tls",
    "create",
    "replicas",
    "storage",
    "dedup_window",
    "max_age",
    "max_bytes",
    "partitions",
    "in_flight",
];

/// The settings of the URL. Settings that it leaves out are not checked on existing streams.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The servers to connect to, without any secret.
    pub(crate) servers: Vec<String>,
    pub(crate) names: Names,
    pub(crate) tls: bool,
    pub(crate) create: Create,
    pub(crate) replicas: Option<usize>,
    pub(crate) storage: Option<StorageType>,
    pub(crate) dedup_window: Option<Duration>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) max_bytes: Option<i64>,
    pub(crate) partitions: Option<u64>,
    pub(crate) in_flight: i64,
}

/// How to treat streams and consumers that are missing or differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Create {
    /// Missing ones are made; one that differs is an error.
    Yes,
    /// Both are errors.
    No,
    /// Missing ones are made, and those that differ are changed if the server can do that.
    Update,
}

impl Options {
    /// Reads `nats://host:4222/stream?name=value&…`.
    pub(crate) fn parse(url: &str) -> Result<Self, BrokerError> {
        let parsed = Url::parse(url).map_err(|error| invalid(format!("URL {url:?} cannot be read: {error}")))?;
        let host = parsed.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| invalid(format!("URL {url:?} names no host")))?;
        let path = parsed.path().trim_matches('/');
        let names = Names::new(if path.is_empty() { DEFAULT_STREAM } else { path })?;
        let mut options = Self {
            servers: vec![format!("nats://{host}:{}", parsed.port().unwrap_or(PORT))],
            names,
            tls: false,
            create: Create::Yes,
            replicas: None,
            storage: None,
            dedup_window: None,
            max_age: None,
            max_bytes: None,
            partitions: None,
            in_flight: DEFAULT_IN_FLIGHT,
        };
        for (name, value) in parsed.query_pairs() {
            options.set(&name, &value)?;
        }
        Ok(options)
    }

    /// Reads `nats-core://host:4222?servers=…&tls=…`.
    pub(crate) fn parse_core(url: &str) -> Result<Self, BrokerError> {
        let parsed = Url::parse(url).map_err(|error| invalid(format!("URL {url:?} cannot be read: {error}")))?;
        if !matches!(parsed.path(), "" | "/") {
            let fault = format!("nats-core: has no streams; leave out {} behind the host", parsed.path());
            return Err(invalid(fault));
        }
        if let Some((name, _)) = parsed.query_pairs().find(|(name, _)| name != "servers" && name != "tls") {
            return Err(invalid(format!("nats-core: has no parameter {name:?}; it has servers, tls")));
        }
        Self::parse(url)
    }

    /// The place of the stream.
    pub(crate) fn site(&self, kind: &'static str) -> Site {
        let server = |server: &String| {
            let url = Url::parse(server).ok()?;
            Some((url.host_str()?.to_owned(), url.port().filter(|port| *port != PORT)))
        };
        Site::new(kind, self.servers.iter().filter_map(server), &self.names.stream)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), BrokerError> {
        match name {
            "servers" => {
                for server in value.split(',').map(str::trim).filter(|server| !server.is_empty()) {
                    self.servers.push(server_url(server)?);
                }
            }
            "tls" => self.tls = word(name, value, &[("yes", true), ("no", false)])?,
            "create" => {
                let words = [("yes", Create::Yes), ("no", Create::No), ("update", Create::Update)];
                self.create = word(name, value, &words)?;
            }
            "replicas" => self.replicas = Some(within(name, value, 1, 5)?),
            "storage" => {
                let words = [("file", StorageType::File), ("memory", StorageType::Memory)];
                self.storage = Some(word(name, value, &words)?);
            }
            "dedup_window" => self.dedup_window = Some(duration(name, value)?),
            "max_age" => self.max_age = Some(duration(name, value)?),
            "max_bytes" => self.max_bytes = Some(within(name, value, 1, i64::MAX)?),
            "partitions" => self.partitions = Some(within(name, value, 0, PARTITIONS_MAX)?),
            "in_flight" => self.in_flight = within(name, value, 1, i64::MAX)?,
            _ => {
                let known = PARAMETERS.join(", ");
                return Err(invalid(format!("nats: has no parameter {name:?}; it has {known}")));
            }
        }
        Ok(())
    }
}

fn server_url(server: &str) -> Result<String, BrokerError> {
    let url = if server.contains("://") { server.to_owned() } else { format!("nats://{server}") };
    let parsed = Url::parse(&url).ok().filter(|url| url.username().is_empty() && url.password().is_none());
    let host = parsed.as_ref().and_then(|url| url.host_str()).filter(|host| !host.is_empty());
    match (host, &parsed) {
        (Some(host), Some(url)) => Ok(format!("nats://{host}:{}", url.port().unwrap_or(PORT))),
        // A text that cannot be parsed is not shown: it may contain a password.
        _ => Err(invalid("servers= is a list of host:port with commas between, without user or password")),
    }
}

fn word<T: Copy>(name: &str, value: &str, words: &[(&str, T)]) -> Result<T, BrokerError> {
    let found = words.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning);
    found.ok_or_else(|| {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        invalid(format!("{name}={value} is none of {}", known.join(", ")))
    })
}

fn within<T: FromStr + PartialOrd + std::fmt::Display>(
    name: &str,
    value: &str,
    min: T,
    max: T,
) -> Result<T, BrokerError> {
    let number = value.parse().ok().filter(|number| *number >= min && *number <= max);
    number.ok_or_else(|| invalid(format!("{name}={value} is no number from {min} to {max}")))
}

fn duration(name: &str, value: &str) -> Result<Duration, BrokerError> {
    let duration = humantime::parse_duration(value).ok().filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| invalid(format!("{name}={value} is not a time such as 10m")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_enough() {
        let options = Options::parse("nats://broker.test").unwrap();
        assert_eq!(options.servers, ["nats://broker.test:4222"]);
        assert_eq!((options.names.stream.as_str(), options.create), ("wasmpost", Create::Yes));
    }

    #[test]
    fn two_urls_of_one_stream_lead_to_one_place() {
        let is_same = |one: &str, other: &str| {
            let site = |url| Options::parse(url).unwrap().site("nats");
            site(one).is_same(&site(other))
        };
        assert!(is_same("nats://localhost", "nats://127.0.0.1:4222/wasmpost?replicas=3"));
        assert!(is_same("nats://a.test/jobs", "nats://b.test/jobs?servers=A.test:4222"));
        assert!(!is_same("nats://a.test/jobs", "nats://a.test/mail"));
        assert!(!is_same("nats://a.test/jobs", "nats://a.test:4223/jobs"));
    }

    #[test]
    fn everything_can_be_said() {
        let url = "nats://a:1/jobs?servers=b:2,nats://c&tls=yes&create=no&replicas=3&storage=memory&dedup_window=1m\
                   &max_age=2d&max_bytes=1000&partitions=16&in_flight=50";
        let options = Options::parse(url).unwrap();
        assert_eq!(options.servers, ["nats://a:1", "nats://b:2", "nats://c:4222"]);
        assert_eq!((options.names.stream.as_str(), options.tls, options.create), ("jobs", true, Create::No));
        assert_eq!((options.replicas, options.storage), (Some(3), Some(StorageType::Memory)));
        assert_eq!(options.dedup_window, Some(Duration::from_secs(60)));
        assert_eq!(options.max_age, Some(Duration::from_secs(2 * 86400)));
        assert_eq!((options.max_bytes, options.partitions, options.in_flight), (Some(1000), Some(16), 50));
    }

    #[test]
    fn without_streams_there_is_nothing_to_say_of_them() {
        assert!(Options::parse_core("nats-core://a:1?servers=b&tls=yes").is_ok());
        for url in ["nats-core://a/jobs", "nats-core://a?replicas=3"] {
            assert!(Options::parse_core(url).is_err(), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        for (query, named) in [
            ("partition=8", "partitions"),
            ("partitions=1000", "256"),
            ("replicas=0", "replicas=0"),
            ("storage=tape", "file, memory"),
            ("create=maybe", "yes, no, update"),
            ("max_age=soon", "max_age=soon"),
            ("servers=nats://me:secret@b", "without user or password"),
        ] {
            let error = Options::parse(&format!("nats://a/b?{query}")).unwrap_err().to_string();
            assert!(error.contains(named) && !error.contains("secret"), "{error}");
        }
    }
}
