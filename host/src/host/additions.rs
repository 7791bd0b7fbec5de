//! Additions to a host by the program that runs it.

use std::sync::Arc;

use wasmpost_delivery::Observer;
use wasmpost_msg::Receiver;
use wasmpost_sandbox::{LogSink, TracingSink};

use super::ingress::Sockets;
use crate::config::ReceiverConfig;

/// Makes a receiver that hands messages on to the one it is given.
pub type Around = Arc<dyn Fn(&ReceiverConfig, Arc<dyn Receiver>) -> Arc<dyn Receiver> + Send + Sync>;

/// Additions to a host by the program that runs it: nothing unless given.
#[derive(Clone, Default)]
pub struct Additions {
    /// Told how each delivery ended.
    pub observer: Option<Arc<dyn Observer>>,
    /// Takes the lines that components log, instead of the log of the host.
    pub log: Option<Arc<dyn LogSink>>,
    /// The addresses for messages by HTTP, where they were bound before; otherwise the host binds them.
    pub sockets: Option<Arc<Sockets>>,
    /// The address that the admin listener was bound to, for a host that gives up the right to bind one.
    pub admin: Option<Arc<std::net::TcpListener>>,
    /// Puts a receiver around that of each component. It stays when the component is replaced.
    pub around: Option<Around>,
}

impl Additions {
    /// The log of components.
    pub(super) fn log(&self) -> Arc<dyn LogSink> {
        self.log.clone().unwrap_or_else(|| Arc::new(TracingSink))
    }
}
