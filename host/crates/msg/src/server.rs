//! Servers: what hands messages to a receiver.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::receiver::Receiver;

/// Serves messages to a receiver.
#[async_trait]
pub trait Server: Send + Sync {
    /// Takes messages and hands each to `receiver`, until the server is shut down. It returns after the last message in
    /// flight. A passing fault of the broker does not end it.
    async fn serve(&self, receiver: Arc<dyn Receiver>) -> Result<ServerClosed, ServeError>;

    /// Takes no more messages and lets those in flight finish. When `grace` runs out first, what is left is interrupted,
    /// put back, and counted in the error.
    async fn shutdown(&self, grace: Duration) -> Result<ServerClosed, GraceExpired>;
}

/// The server was shut down, and nothing was in flight any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerClosed;

/// The time for a graceful shutdown ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("grace expired with {in_flight} messages in flight")]
pub struct GraceExpired {
    /// How many messages were interrupted.
    pub in_flight: usize,
}

/// Why a server could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// It is serving already, or was shut down before: a server serves once.
    #[error("server serves already or was shut down")]
    NotIdle,
    /// The broker cannot be used any more.
    #[error("broker failed")]
    Broker(#[source] Box<dyn std::error::Error + Send + Sync>),
}
