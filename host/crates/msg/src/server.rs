//! Servers: what hands messages to a receiver.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::receiver::Receiver;
use crate::shown::counted;

/// Serves messages to a receiver.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use async_trait::async_trait;
/// use wasmpost_msg::{GraceExpired, Message, Receiver, ReceiverFunc, ServeError, Server, ServerClosed};
///
/// /// Hands one empty message to its receiver, and is done.
/// struct Once;
///
/// #[async_trait]
/// impl Server for Once {
///     async fn serve(&self, receiver: Arc<dyn Receiver>) -> Result<ServerClosed, ServeError> {
///         match receiver.receive(Message::default()).await {
///             Ok(()) => Ok(ServerClosed),
///             Err(error) => Err(ServeError::Broker(Box::new(error))),
///         }
///     }
///
///     async fn shutdown(&self, _: Duration) -> Result<ServerClosed, GraceExpired> {
///         Ok(ServerClosed)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// Once.serve(Arc::new(ReceiverFunc(|_| async { Ok(()) }))).await?;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Server: Send + Sync {
    /// Takes messages and hands each to `receiver`, until the server is shut down. It returns after the last message in
    /// flight. A passing fault of the broker does not end it.
    ///
    /// # Errors
    ///
    /// [`ServeError::NotIdle`] where it serves already or was shut down before, and [`ServeError::Broker`] where the
    /// broker cannot go on.
    async fn serve(&self, receiver: Arc<dyn Receiver>) -> Result<ServerClosed, ServeError>;

    /// Takes no more messages and lets those in flight finish. When `grace` runs out first, what is left is interrupted,
    /// put back, and counted in the error.
    ///
    /// # Errors
    ///
    /// [`GraceExpired`] with the number of messages that were interrupted.
    async fn shutdown(&self, grace: Duration) -> Result<ServerClosed, GraceExpired>;
}

/// The server was shut down, and nothing was in flight any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerClosed;

/// The time for a graceful shutdown ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("grace expired with {} in flight", counted(*.in_flight, "message"))]
pub struct GraceExpired {
    /// How many messages were interrupted.
    pub in_flight: usize,
}

/// The error of a server that could not go on.
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
