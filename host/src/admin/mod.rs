//! The admin listener of a host: health, metrics, the JSON API and the page, all behind the gate.
//!
//! Every route is a row in `routes`, which names its action; the router, the gate before each route and the OpenAPI
//! document are made from these rows.

mod api;
mod audit;
mod document;
mod exposition;
mod layers;
mod page;
mod pass;
mod problem;
mod routes;
mod scene;
mod statistics;
mod tasks;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::AdminConfig;
use crate::http::{self, HttpBounds};
use crate::kept::KeptLogs;
use crate::metrics::Meters;
pub use routes::{RouteRow, rows};
pub use scene::Scene;

/// How long the listener may take to end.
const END_MAX: Duration = Duration::from_secs(1);

/// An admin listener, until it is dropped.
pub struct Admin {
    scene: Arc<Scene>,
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

/// Binds the address of an admin listener. A host that gives up rights binds it before.
pub fn bind(config: &AdminConfig) -> io::Result<std::net::TcpListener> {
    if let Some(fault) = config.fault() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, fault));
    }
    let listener = std::net::TcpListener::bind(config.listen)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Admin {
    /// Serves on a listener, at first for a host that starts.
    pub fn start(
        config: &AdminConfig,
        listener: std::net::TcpListener,
        meters: Arc<Meters>,
        logs: Arc<KeptLogs>,
    ) -> io::Result<Self> {
        let tls = config.tls.as_ref().map(|(certificate, key)| http::tls(certificate, key)).transpose()?;
        let address = listener.local_addr()?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let scene = Arc::new(Scene::new(config.tokens.clone(), meters, logs));
        let stop = CancellationToken::new();
        let router = routes::router(Arc::clone(&scene));
        let serving = http::serve(listener, tls, router, HttpBounds::default(), stop.clone());
        let is_encrypted = config.tls.is_some();
        tracing::info!(%address, is_encrypted, "admin listener is open");
        Ok(Self { scene, address, stop, serving: tokio::spawn(serving) })
    }

    /// The parts of the host that it shows.
    pub fn scene(&self) -> &Arc<Scene> {
        &self.scene
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it, and lets go of the host.
    pub async fn end(mut self) {
        self.stop.cancel();
        self.scene.end();
        drop(tokio::time::timeout(END_MAX, &mut self.serving).await);
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.cancel();
        self.scene.end();
    }
}
