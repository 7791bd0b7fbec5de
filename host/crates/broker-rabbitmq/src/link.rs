//! The connection: made when it is needed, made again when it was lost, and never after it was closed.

use std::sync::Arc;

use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use wasmpost_delivery::{BrokerError, BrokerErrorKind};
use wasmpost_msg::chain;

use crate::access::Target;
use crate::error::{answered, closed};

/// One of the two connections of a broker. While it is short of memory or disk, RabbitMQ reads no more from a connection
/// that publishes: acks go over the other.
pub(crate) struct Link {
    target: Arc<Target>,
    what_for: &'static str,
    closed: CancellationToken,
    live: Mutex<Option<Arc<Connection>>>,
}

impl Link {
    pub(crate) fn new(target: Arc<Target>) -> Self {
        Self { target, what_for: "delivering", closed: CancellationToken::new(), live: Mutex::default() }
    }

    /// The connection of the same broker that is published over.
    pub(crate) fn for_publishing(&self) -> Self {
        let target = Arc::clone(&self.target);
        let closed = self.closed.clone();
        Self { target, what_for: "publishing", closed, live: Mutex::default() }
    }

    /// Ends what waits for this broker when it is closed.
    pub(crate) fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    pub(crate) fn check(&self) -> Result<(), BrokerError> {
        if self.closed.is_cancelled() { Err(closed()) } else { Ok(()) }
    }

    /// The connection, made anew where there is none that lives. Those who wait for it wait for one attempt together.
    pub(crate) async fn connection(&self) -> Result<Arc<Connection>, BrokerError> {
        self.check()?;
        let mut live = self.live.lock().await;
        if let Some(connection) = live.as_ref().filter(|connection| connection.status().connected()) {
            return Ok(Arc::clone(connection));
        }
        let was_connected = live.take().is_some();
        let connection = tokio::select! {
            connected = self.target.connect() => Arc::new(connected?),
            () = self.closed.cancelled() => return Err(closed()),
        };
        if was_connected {
            tracing::info!(broker = %self.target.shown(), r#for = self.what_for, "connected again");
        }
        *live = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// A channel of its own. A request that the broker refuses closes its own channel, and no other.
    pub(crate) async fn channel(&self) -> Result<Channel, BrokerError> {
        let connection = self.connection().await?;
        answered("opening a channel", connection.create_channel()).await
    }

    /// Whether the broker takes nothing that is published now, as far as it said.
    pub(crate) async fn check_room(&self) -> Result<(), BrokerError> {
        if !self.connection().await?.status().blocked() {
            return Ok(());
        }
        let full = "RabbitMQ takes nothing that is published: it is short of memory or disk";
        Err(BrokerError::new(BrokerErrorKind::Full, full))
    }

    /// A channel on which what is published is confirmed.
    pub(crate) async fn confirming(&self) -> Result<Channel, BrokerError> {
        self.check_room().await?;
        let channel = self.channel().await?;
        answered("asking for confirms", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(channel)
    }

    /// Ends the connection: what was leased over it goes back to the broker.
    pub(crate) async fn close(&self) {
        self.closed.cancel();
        let Some(connection) = self.live.lock().await.take() else { return };
        if let Err(error) = answered("closing the connection", connection.close(200, "closed".into())).await {
            // It is gone either way; the broker notices by itself.
            tracing::debug!(error = %chain(&error), "connection was not closed in order");
        }
    }
}
