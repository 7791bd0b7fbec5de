//! `wasmpost run`: serves messages until it is told to stop.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use wasmpost_sandbox::{Confined, Grants, HttpOrigin, TopicPattern};

use super::logging::{self, Logging};
use super::signals::Signals;
use super::target::DEFAULT_CONFIG;
use super::{Failure, output};
use crate::admin;
use crate::config::{self, ADMIN_ADDRESS, AdminConfig, Config, DEFAULT_FILE, ReceiverConfig};
use crate::host::{self, Additions, Host, HostError, Sockets};
use crate::registry::Address;

/// The exit code of a process that a second signal ended.
const EXIT_INTERRUPTED: i32 = 130;

/// Serves messages until it is told to stop.
///
/// SIGINT or SIGTERM lets messages in flight finish; a second one ends the process at once. SIGHUP loads components that
/// have changed, as `wasmpost reload` does.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wasmpost run --config wasmpost.toml
  wasmpost run --queue webhooks --component triage.wasm --publish 'github.*'")]
pub(super) struct Run {
    /// The configuration [default: wasmpost.toml, where there is one].
    #[arg(long, value_name = "FILE", conflicts_with_all = ["queue", "component", "publish", "http", "broker"])]
    config: Option<PathBuf>,
    /// Without a configuration: the queue to take messages from.
    #[arg(long, value_name = "NAME", requires = "component")]
    queue: Option<String>,
    /// Without a configuration: the component to hand them to.
    #[arg(long, value_name = "FILE", requires = "queue")]
    component: Option<PathBuf>,
    /// Without a configuration: a topic that the component may publish to, or a prefix that ends in *.
    #[arg(long, value_name = "TOPIC", requires = "queue")]
    publish: Vec<TopicPattern>,
    /// Without a configuration: an origin that the component may send HTTP requests to.
    #[arg(long, value_name = "ORIGIN", requires = "queue")]
    http: Vec<HttpOrigin>,
    /// Without a configuration: where messages are kept [default: sqlite:wasmpost.db].
    #[arg(long, value_name = "URL", requires = "queue")]
    broker: Option<String>,
    /// The name by which this host is known among those that share queues [default: as configured, or the name of the
    /// machine and the number of the process].
    #[arg(long, value_name = "ID", value_parser = host_id)]
    id: Option<String>,
    /// End once nothing is ready, delayed or in flight in any queue.
    #[arg(long)]
    until_empty: bool,
    /// Open the admin listener: health, metrics, the JSON API and the page. Without tokens in the configuration, one is
    /// made for this run, and the address of the page is printed with it [default address: 127.0.0.1:7390].
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = false)]
    admin: Option<Option<SocketAddr>>,
    #[command(flatten)]
    logging: Logging,
    #[arg(skip)]
    begun: Option<Begun>,
}

/// A host as it was configured before there were threads.
#[derive(Debug)]
struct Begun {
    config: Config,
    /// The addresses for messages by HTTP, which a confined process cannot bind.
    sockets: Arc<Sockets>,
    /// The address of the admin listener, bound before the right to do so is given up.
    admin: Option<TcpListener>,
    /// The token of this run, where none is configured.
    token: Option<String>,
    /// Keeps the process confined.
    _confined: Option<Confined>,
}

impl Run {
    /// Reads the configuration, and confines the process where it says so, which only binds threads that start afterwards.
    pub(super) fn begin(mut self) -> Result<Self, Failure> {
        let mut config = self.config()?;
        let mut token = None;
        if let Some(admin) = config.admin.take() {
            let (admin, made) = admin.with_token_of_run()?;
            (config.admin, token) = (Some(admin), made);
        }
        let refused = |address| move |source| HostError::Admin { address, source };
        let bound = config.admin.as_ref().map(|config| admin::bind(config).map_err(refused(config.listen)));
        let admin = bound.transpose()?;
        let sockets = Arc::new(Sockets::bind(&config)?);
        let confined = host::confine(&config)?;
        self.begun = Some(Begun { config, sockets, admin, token, _confined: confined });
        Ok(self)
    }

    pub(super) async fn run(mut self) -> Result<(), Failure> {
        self.logging.start()?;
        let mut signals = Signals::new()?;
        let mut reload = signal(SignalKind::hangup())?;
        let mut begun = self.begun.take();
        let mut config = match &begun {
            Some(begun) => begun.config.clone(),
            None => self.config()?,
        };
        let sockets = begun.as_ref().map(|begun| Arc::clone(&begun.sockets));
        let admin = begun.as_mut().and_then(|begun| begun.admin.take()).map(Arc::new);
        let token = begun.as_mut().and_then(|begun| begun.token.take());
        if let (Some(address), Some(token)) = (admin.as_ref().and_then(|admin| admin.local_addr().ok()), token) {
            // Only here, and not in the log: whoever has it may do everything.
            let scheme = if config.admin.as_ref().is_some_and(|admin| admin.tls.is_some()) { "https" } else { "http" };
            output::line(format_args!("page: {scheme}://{address}/#token={token}"));
        }
        let additions = Additions { sockets, admin, ..Additions::default() };
        if let Some(id) = &self.id {
            config.id.clone_from(id);
        }
        let mut host = tokio::select! {
            host = Host::start_with(config, additions) => host?,
            // Nothing is in flight yet.
            () = signals.next() => return Ok(()),
        };
        let until_empty = self.until_empty;
        let view = host.view();
        let reloading = async {
            loop {
                reload.recv().await;
                tracing::info!("reloading components");
                drop(view.reload().await);
            }
        };
        let broken: Option<HostError> = tokio::select! {
            biased;
            () = signals.next() => {
                tracing::info!("stopping; messages in flight may finish");
                None
            }
            () = reloading => None,
            drained = drained(&mut host, until_empty) => drained.err(),
        };
        let is_broken = broken.is_some();
        let again = async {
            // The first signal asks a host that ends by itself for no more than it does.
            if is_broken {
                signals.next().await;
            }
            signals.next().await;
        };
        let stopped = tokio::select! {
            stopped = host.stop() => stopped,
            () = again => {
                output::note("ended by a second signal; leases are given back at the next start");
                logging::end();
                std::process::exit(EXIT_INTERRUPTED);
            }
        };
        match broken {
            Some(error) => Err(error.into()),
            None => Ok(stopped?),
        }
    }

    fn config(&self) -> Result<Config, Failure> {
        let mut config = self.config_without_admin()?;
        if let Some(address) = self.admin {
            let configured = config.admin.take();
            let admin = match (address, configured) {
                (Some(listen), Some(configured)) => AdminConfig { listen, ..configured },
                (Some(listen), None) => AdminConfig::on(listen),
                (None, configured) => configured.unwrap_or_else(|| AdminConfig::on(ADMIN_ADDRESS)),
            };
            if let Some(fault) = admin.fault() {
                return Err(Failure::usage(anyhow::anyhow!("--admin: {fault}")));
            }
            config.admin = Some(admin);
        }
        Ok(config)
    }

    fn config_without_admin(&self) -> Result<Config, Failure> {
        if let (Some(queue), Some(component)) = (&self.queue, &self.component) {
            if let Some(fault) = wasmpost_delivery::topic_name_fault(queue) {
                return Err(Failure::usage(anyhow::anyhow!("--queue: {fault}")));
            }
            let receiver = ReceiverConfig {
                grants: Grants { publish: self.publish.clone(), http: self.http.clone(), ..Grants::default() },
                ..ReceiverConfig::new(queue, component.clone())
            };
            let broker = match &self.broker {
                Some(url) => Address::parse(url)?,
                None => Address::of_file(Path::new(DEFAULT_FILE)),
            };
            return Ok(Config::of_one(receiver, broker));
        }
        let path = self.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG));
        if self.config.is_none() && !path.exists() {
            let fault = format!("there is no {DEFAULT_CONFIG} here; use --config, or --queue with --component");
            return Err(Failure::usage(anyhow::anyhow!(fault)));
        }
        Ok(Config::load(path)?)
    }
}

fn host_id(id: &str) -> Result<String, String> {
    config::id_fault(id).map_or_else(|| Ok(id.to_owned()), Err)
}

/// Waits until the host stops by itself, or until it is drained if asked.
async fn drained(host: &mut Host, until_empty: bool) -> Result<(), HostError> {
    if !until_empty {
        return Err(host.stopped().await);
    }
    // A receiver that stops closes its queue, which ends the waiting as well.
    host.drained().await
}
