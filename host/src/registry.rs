//! The table of brokers: which scheme of a URL opens which.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use wasmpost_broker_sqlite::{SqliteBroker, SqliteOptions};
use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
use wasmpost_delivery::{Broker, BrokerError, BrokerErrorKind};

/// A kind of broker.
pub struct Scheme {
    /// What its URLs begin with, before the colon.
    pub name: &'static str,
    /// What a URL looks like.
    pub example: &'static str,
    /// What it is, in a line.
    pub what: &'static str,
    /// Opens the broker that the rest of a URL names.
    pub open: fn(String) -> Opening,
}

/// A broker that is being opened.
pub type Opening = BoxFuture<'static, Result<Arc<dyn Broker>, BrokerError>>;

/// Every kind of broker.
pub const SCHEMES: &[Scheme] = &[
    Scheme {
        name: "sqlite",
        example: "sqlite:wasmpost.db",
        what: "the embedded durable queue, in one file",
        open: |path| Box::pin(open_sqlite(path)),
    },
    Scheme {
        name: "memory",
        example: "memory:",
        what: "in memory, gone with the process",
        open: |rest| Box::pin(open_memory(rest)),
    },
];

/// The kind of broker that a URL names, and the rest of the URL.
pub fn scheme(url: &str) -> Result<(&'static Scheme, &str), BrokerError> {
    let known = || SCHEMES.iter().map(|scheme| scheme.example).collect::<Vec<_>>().join(", ");
    let invalid = |fault: String| BrokerError::new(BrokerErrorKind::Invalid, fault);
    let Some((name, rest)) = url.split_once(':') else {
        return Err(invalid(format!("broker {url:?} is no URL; known are {}", known())));
    };
    let found = SCHEMES.iter().find(|scheme| scheme.name == name);
    let scheme = found.ok_or_else(|| invalid(format!("unknown broker scheme {name:?}; known are {}", known())))?;
    Ok((scheme, rest))
}

/// Opens the broker that a URL names.
pub async fn open(url: &str) -> Result<Arc<dyn Broker>, BrokerError> {
    let (scheme, rest) = scheme(url)?;
    (scheme.open)(rest.to_owned()).await
}

/// The file of an embedded queue, where the URL names one.
pub fn file(url: &str) -> Option<PathBuf> {
    url.strip_prefix("sqlite:").map(PathBuf::from)
}

async fn open_sqlite(path: String) -> Result<Arc<dyn Broker>, BrokerError> {
    if path.is_empty() {
        return Err(BrokerError::new(BrokerErrorKind::Invalid, "sqlite: names no file; write sqlite:wasmpost.db"));
    }
    let broker: Arc<dyn Broker> = SqliteBroker::open(Path::new(&path), SqliteOptions::default()).await?;
    Ok(broker)
}

async fn open_memory(rest: String) -> Result<Arc<dyn Broker>, BrokerError> {
    if !rest.is_empty() {
        return Err(BrokerError::new(BrokerErrorKind::Invalid, "memory: takes nothing behind the colon"));
    }
    Ok(Arc::new(MemoryBroker::new(MemoryOptions::default())))
}
