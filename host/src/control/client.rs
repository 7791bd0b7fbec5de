//! The commands' end of the socket: a broker that lies in another process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{SinkExt, StreamExt};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use wasmpost_delivery::{
    Broker, BrokerError, BrokerErrorKind, Capabilities, DeadLetter, DeadLetterFilter, DeadLetters, Listed, Queue,
    QueueSpec, QueueStats, Receipt,
};
use wasmpost_msg::Publication;

use crate::host::{ReceiverStatus, Reloaded, TenantStatus};

use super::pipe::{self, PipeOrder};
use super::protocol::{Frames, Request, Response, WirePublication, broken, decode, encode, frames};

/// How long the host may take for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take to load its components again, which may have to be compiled.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(600);

/// The broker of a host that runs in another process. Queues cannot be served through it.
pub struct RemoteBroker {
    /// None once an answer was missed: the next one on that connection would be the answer to another question.
    frames: Mutex<Option<Frames>>,
}

impl RemoteBroker {
    /// Connects to the socket of a host.
    pub async fn connect(path: &Path) -> std::io::Result<Self> {
        let connecting = tokio::time::timeout(ANSWER_TIMEOUT, UnixStream::connect(path));
        let stream = connecting.await.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
        Ok(Self { frames: Mutex::new(Some(frames(stream))) })
    }

    /// What each tenant of the host may use and used.
    pub async fn tenants(&self) -> Result<Vec<TenantStatus>, BrokerError> {
        match self.ask(Request::Tenants).await? {
            Response::Tenants(tenants) => Ok(tenants),
            _ => Err(broken("no tenants")),
        }
    }

    /// How each receiver of the host gets its messages.
    pub async fn receivers(&self) -> Result<Vec<ReceiverStatus>, BrokerError> {
        match self.ask(Request::Receivers).await? {
            Response::Receivers(receivers) => Ok(receivers),
            _ => Err(broken("no receivers")),
        }
    }

    /// Has the host load every component whose file has changed.
    pub async fn reload(&self) -> Result<Vec<Reloaded>, BrokerError> {
        match self.ask_within(RELOAD_TIMEOUT, Request::Reload).await? {
            Response::Reloaded(components) => Ok(components),
            _ => Err(broken("nothing about components")),
        }
    }

    /// Has the host move messages from a queue to a topic, until `stop` or the end that is asked for. What goes elsewhere
    /// is published to `to` here. Gives how many were moved.
    pub async fn pipe(
        &self,
        order: PipeOrder,
        to: Option<Arc<dyn Broker>>,
        stop: impl Future<Output = ()>,
    ) -> Result<u64, BrokerError> {
        let gone = |cause: String| BrokerError::new(BrokerErrorKind::Unavailable, format!("host is gone: {cause}"));
        let connection = self.frames.lock().await.take();
        let mut frames = connection.ok_or_else(|| gone("an answer was missed before".into()))?;
        frames.send(encode(&Request::Pipe(order))?).await.map_err(|error| gone(error.to_string()))?;
        pipe::follow(&mut frames, to, stop).await.unwrap_or_else(|error| Err(gone(error.to_string())))
    }

    async fn ask(&self, request: Request) -> Result<Response, BrokerError> {
        self.ask_within(ANSWER_TIMEOUT, request).await
    }

    async fn ask_within(&self, patience: Duration, request: Request) -> Result<Response, BrokerError> {
        let gone = |cause: String| BrokerError::new(BrokerErrorKind::Unavailable, format!("host is gone: {cause}"));
        let asking = async {
            let mut connection = self.frames.lock().await;
            let mut frames = connection.take().ok_or_else(|| gone("an answer was missed before".into()))?;
            frames.send(encode(&request)?).await.map_err(|error| gone(error.to_string()))?;
            let frame = frames.next().await.ok_or_else(|| gone("connection was closed".into()))?;
            let frame = frame.map_err(|error| gone(error.to_string()))?;
            *connection = Some(frames);
            decode::<Response>(&frame)?.into_result()
        };
        let asked = tokio::time::timeout(patience, asking).await;
        asked.unwrap_or_else(|_| Err(gone(format!("no answer within {patience:?}"))))
    }

    async fn count(&self, request: Request) -> Result<u64, BrokerError> {
        match self.ask(request).await? {
            Response::Count(count) => Ok(count),
            _ => Err(broken("not a count")),
        }
    }
}

#[async_trait]
impl Broker for RemoteBroker {
    /// Those of the embedded queue, which is what has a socket.
    fn capabilities(&self) -> Capabilities {
        Capabilities::embedded(true)
    }

    async fn queue(&self, _: QueueSpec) -> Result<Arc<dyn Queue>, BrokerError> {
        Err(BrokerError::new(BrokerErrorKind::Unsupported, "queues cannot be served through another process"))
    }

    async fn publish(&self, publications: Vec<Publication>) -> Result<Vec<Receipt>, BrokerError> {
        let publications = publications.into_iter().map(WirePublication::from).collect();
        match self.ask(Request::Publish(publications)).await? {
            Response::Published(receipts) => Ok(receipts),
            _ => Err(broken("no receipts")),
        }
    }

    async fn stats(&self) -> Result<Vec<QueueStats>, BrokerError> {
        match self.ask(Request::Stats).await? {
            Response::Stats(stats) => Ok(stats),
            _ => Err(broken("no statistics")),
        }
    }

    fn dead_letters(&self) -> Option<&dyn DeadLetters> {
        Some(self)
    }

    async fn close(&self) -> Result<(), BrokerError> {
        Ok(())
    }
}

#[async_trait]
impl DeadLetters for RemoteBroker {
    async fn list(&self, filter: &DeadLetterFilter, skip: usize, max: usize) -> Result<Vec<Listed>, BrokerError> {
        match self.ask(Request::List { filter: filter.into(), skip, max }).await? {
            Response::Listed(letters) => Ok(letters),
            _ => Err(broken("no dead letters")),
        }
    }

    async fn show(&self, filter: &DeadLetterFilter, skip: usize, max: usize) -> Result<Vec<DeadLetter>, BrokerError> {
        match self.ask(Request::Show { filter: filter.into(), skip, max }).await? {
            Response::DeadLetters(letters) => Ok(letters.into_iter().map(DeadLetter::from).collect()),
            _ => Err(broken("no dead letters")),
        }
    }

    async fn redrive(&self, filter: &DeadLetterFilter) -> Result<u64, BrokerError> {
        self.count(Request::Redrive(filter.into())).await
    }

    async fn purge(&self, filter: &DeadLetterFilter) -> Result<u64, BrokerError> {
        self.count(Request::Purge(filter.into())).await
    }
}
