//! Why a host did not start or stopped.

use std::path::PathBuf;

use wasmpost_delivery::BrokerError;
use wasmpost_msg::ServeError;
use wasmpost_sandbox::{LoadError, SandboxError};

use crate::config::ReceiverConfig;

/// Why a host did not start or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The engine could not be set up.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// There is nothing to serve.
    #[error("the configuration names no receivers; add one under [[receivers]]")]
    NoReceivers,
    /// What proves who connects to a broker is of no use.
    #[error("broker {broker:?}: {source}")]
    Access {
        /// The name of the broker.
        broker: String,
        /// What is wrong with it.
        source: BrokerError,
    },
    /// The broker can have no such queue.
    #[error("receiver {receiver:?}: {source}")]
    Queue {
        /// The receiver.
        receiver: String,
        /// What is wrong with it.
        source: BrokerError,
    },
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

impl HostError {
    pub(super) fn of_component(config: &ReceiverConfig, source: LoadError) -> Self {
        Self::Component { receiver: config.name.clone(), at: config.component_at.clone(), source }
    }
}
