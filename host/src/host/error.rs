//! Errors of a host at start and while it serves.

use std::path::PathBuf;

use wasmpost_delivery::BrokerError;
use wasmpost_msg::{ServeError, counted};
use wasmpost_sandbox::{LoadError, SandboxError};

use crate::config::ReceiverConfig;

/// Errors of a host at start and while it serves.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The engine could not be set up.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// It could not give up what a hostile host does not need.
    #[error("this process could not be confined, which hostile = true asks for")]
    Confine(#[source] std::io::Error),
    /// There is nothing to serve.
    #[error("the configuration names no receivers; add one under [[receivers]]")]
    NoReceivers,
    /// The credentials for a broker are invalid.
    #[error("broker {broker:?}")]
    Access {
        /// The name of the broker.
        broker: String,
        /// The fault.
        source: BrokerError,
    },
    /// The broker can have no such queue.
    #[error("receiver {receiver:?}")]
    Queue {
        /// The receiver.
        receiver: String,
        /// The fault.
        source: BrokerError,
    },
    /// A component was not loaded.
    #[error("{}receiver {receiver:?}", at.as_ref().map_or_else(String::new, |at| format!("{at}: ")))]
    Component {
        /// The receiver.
        receiver: String,
        /// The place of the component in the configuration.
        at: Option<String>,
        /// The fault.
        source: LoadError,
    },
    /// A broker could not be opened or used.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// A server ended by itself.
    #[error("receiver {receiver:?} stopped")]
    Serve {
        /// The receiver.
        receiver: String,
        /// Why.
        source: ServeError,
    },
    /// The local socket for other commands could not be set up.
    #[error("socket {path:?} for other commands could not be set up")]
    Control {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An address for messages by HTTP could not be listened on.
    #[error("{address} could not be listened on")]
    Ingress {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The admin listener could not be opened.
    #[error("admin listener on {address} could not be opened")]
    Admin {
        /// Its address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The threads for guests could not be started.
    #[error("threads for guests could not be started")]
    Threads(#[source] std::io::Error),
    /// A broker could not be closed in order: something that it confirmed may be lost.
    #[error("broker {broker:?} was not closed in order")]
    NotClosed {
        /// The name of the broker.
        broker: String,
        /// Why.
        source: BrokerError,
    },
    /// Deliveries were interrupted at shutdown.
    #[error("interrupted and gave back {}", counted(*.in_flight, "delivery"))]
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

#[cfg(test)]
mod tests {
    use std::io;

    use wasmpost_delivery::BrokerErrorKind;
    use wasmpost_msg::chain;

    use super::*;

    const CAUSE: &str = "disk is gone";

    fn disk() -> io::Error {
        io::Error::other(CAUSE)
    }

    fn broker() -> BrokerError {
        BrokerError::new(BrokerErrorKind::Unavailable, "queue file could not be read").caused_by(disk())
    }

    #[test]
    fn every_cause_is_told_once_however_deep_it_is() {
        let within = LoadError::In { path: "orders.wasm".into(), fault: Box::new(LoadError::NotWasm(CAUSE.into())) };
        let receiver = || "orders".to_owned();
        let errors = [
            HostError::Sandbox(SandboxError::Thread(disk())),
            HostError::Component { receiver: receiver(), at: Some("wasmpost.toml:2".into()), source: within },
            HostError::Broker(broker()),
            HostError::Access { broker: "default".into(), source: broker() },
            HostError::Queue { receiver: receiver(), source: broker() },
            HostError::Serve { receiver: receiver(), source: ServeError::Broker(Box::new(broker())) },
            HostError::Control { path: "wasmpost.sock".into(), source: disk() },
            HostError::Ingress { address: ([127, 0, 0, 1], 80).into(), source: disk() },
            HostError::Admin { address: crate::config::ADMIN_ADDRESS, source: disk() },
            HostError::Threads(disk()),
            HostError::NotClosed { broker: "default".into(), source: broker() },
            HostError::Confine(disk()),
        ];
        for error in errors {
            let alone = error.to_string();
            let told = chain(&error).to_string();
            let parts: Vec<_> = told.split(": ").collect();
            let mut once = parts.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(parts.len(), once.len(), "each part is told once: {told}");
            assert!(told.ends_with(CAUSE) && !alone.contains(CAUSE), "{alone} | {told}");
            assert_eq!(format!("{:#}", anyhow::Error::new(error)), told);
        }
    }
}
