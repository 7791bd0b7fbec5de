//! The broker of a command, and the way to it: the file itself, or the host that has it open.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use wasmpost_delivery::{Broker, BrokerErrorKind, TenantQuota};

use super::Failure;
use crate::config::{Config, DEFAULT_BROKER, DEFAULT_FILE};
use crate::control::{self, RemoteBroker, SharedFile, socket_path};
use crate::registry::{Address, Purpose};

/// The configuration file that is used when it exists and no other is named.
pub(super) const DEFAULT_CONFIG: &str = "wasmpost.toml";

/// The broker of a command.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// The configuration that names the broker [default: wasmpost.toml, where there is one].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The broker: a name from the configuration, or a URL such as sqlite:wasmpost.db.
    #[arg(long, value_name = "NAME|URL")]
    broker: Option<String>,
}

/// The quotas of tenants, by name.
type Quotas = BTreeMap<String, TenantQuota>;

/// How a queue file that does not exist is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is made.
    Made,
    /// It is an error.
    Refused,
}

/// A broker, and the way to it.
pub(super) enum Reached {
    /// Opened by this process.
    Own(Arc<dyn Broker>),
    /// That of a host which has its file open.
    Host {
        /// The host.
        host: Arc<RemoteBroker>,
        /// The file, for which the host is done without where it ends.
        file: Arc<SharedFile>,
    },
}

impl Target {
    /// The broker of a name or URL, or the default one.
    pub(super) fn new(config: Option<PathBuf>, broker: Option<String>) -> Self {
        Self { config, broker }
    }

    /// The address of the broker.
    pub(super) fn address(&self) -> Result<Address, Failure> {
        self.find().map(|(address, _)| address)
    }

    /// The address of the broker, and the quotas of tenants that the configuration beside it asks for.
    fn find(&self) -> Result<(Address, Quotas), Failure> {
        let broker = self.broker.as_deref();
        if let Some(url) = broker.filter(|broker| broker.contains(':')) {
            return Ok((Address::parse(url)?, Quotas::new()));
        }
        let default = Path::new(DEFAULT_CONFIG);
        let path = self.config.as_deref().or_else(|| default.exists().then_some(default));
        let name = broker.unwrap_or(DEFAULT_BROKER);
        let Some(path) = path else {
            return match broker {
                None => Ok((Address::of_file(Path::new(DEFAULT_FILE)), Quotas::new())),
                Some(name) => Err(Failure::usage(anyhow::anyhow!(
                    "broker {name:?} is not a URL, and there is no {DEFAULT_CONFIG} that defines it; use --config or a URL"
                ))),
            };
        };
        let config = Config::load(path)?;
        let address = config.brokers.get(name).cloned().ok_or_else(|| {
            let known: Vec<_> = config.brokers.keys().map(String::as_str).collect();
            let path = path.display();
            let known = known.join(", ");
            Failure::usage(anyhow::anyhow!("{path} names no broker {name:?}; it names {known}"))
        })?;
        Ok((address, config.quotas()))
    }

    /// The host that has the broker's file open.
    pub(super) async fn host(&self) -> Result<RemoteBroker, Failure> {
        let address = self.address()?;
        let none = |why: String| Failure::failed(anyhow::anyhow!("no host runs on {address}: {why}"));
        let Some(file) = address.file() else {
            return Err(none("only hosts of a queue file can be asked from here".into()));
        };
        let told = |error| none(format!("{}: {error}", socket_path(&file).display()));
        RemoteBroker::connect(&file).await.map_err(told)
    }

    /// The queue file of the broker.
    pub(super) fn file(&self) -> Result<PathBuf, Failure> {
        let address = self.address()?;
        let none = || Failure::usage(anyhow::anyhow!("{address} is not a queue file; give the path of one"));
        address.file().ok_or_else(none)
    }

    /// Opens the broker to look at what is in it. If a host has its file open, goes through the host.
    pub(super) async fn open_to_look(&self) -> Result<Arc<dyn Broker>, Failure> {
        self.reach(Missing::Refused, Purpose::Look).await.map(Reached::broker)
    }

    /// Opens the broker to add messages to it, which the quotas of its configuration hold for. Where a host has the
    /// file open, those of the host do.
    pub(super) async fn open_for_more(&self, missing: Missing) -> Result<Reached, Failure> {
        let reached = self.reach(missing, Purpose::Change).await?;
        if let Reached::Own(broker) = &reached {
            let (_, quotas) = self.find()?;
            if broker.capabilities().quotas && quotas.values().any(TenantQuota::is_set) {
                broker.set_quotas(quotas).await?;
            }
        }
        Ok(reached)
    }

    /// A queue file that a host has is reached through the host; one that other commands have, when its turn comes.
    async fn reach(&self, missing: Missing, purpose: Purpose) -> Result<Reached, Failure> {
        let (mut address, quotas) = self.find()?;
        address.purpose = purpose;
        if address.is_in_memory() {
            let fault = "a broker in memory exists only in its own process; other processes cannot use it";
            return Err(Failure::usage(anyhow::anyhow!(fault)));
        }
        let Some(file) = address.file() else { return Ok(Reached::Own(address.open().await?)) };
        if missing == Missing::Refused && !file.exists() && !socket_path(&file).exists() {
            let fault = format!("queue file {} does not exist; name another one with --broker", file.display());
            return Err(Failure::usage(anyhow::anyhow!(fault)));
        }
        match control::reach(&address, &file).await {
            Ok(control::Reached::File(broker)) => Ok(Reached::Own(broker)),
            Ok(control::Reached::Host(host)) => {
                let file = Arc::new(SharedFile::new(address, file, Arc::clone(&host), quotas));
                Ok(Reached::Host { host, file })
            }
            // It was waited for; that others have it is nothing that the command said wrong.
            Err(error) if error.kind() == BrokerErrorKind::InUse => Err(Failure::failed(error)),
            Err(error) => Err(error.into()),
        }
    }
}

impl Reached {
    /// The broker, whichever way leads to it.
    pub(super) fn broker(self) -> Arc<dyn Broker> {
        match self {
            Self::Own(broker) => broker,
            Self::Host { file, .. } => file,
        }
    }
}
