//! The commands' end of the socket: a broker that lies in another process.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout};
use wasmpost_delivery::{
    Broker, BrokerError, BrokerErrorKind, Capabilities, DeadLetter, DeadLetterFilter, DeadLetters, Listed, Queue,
    QueueSpec, QueueStats, Receipt,
};
use wasmpost_msg::Publication;

use crate::kept::KeptLine;
use crate::view::{ReceiverStatus, Reloaded, TenantStatus};

use super::pipe::{self, PipeOrder};
use super::protocol::{Frames, Request, Response, WirePublication, broken, decode, encode, frames};
use super::socket::Socket;

/// How long the host may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the host may take for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take to load its components again, which may have to be compiled.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a connection that is not used is taken for one that the host still has.
const KEPT_MAX: Duration = Duration::from_secs(2);
/// How long to wait until the host may have room for another connection.
const PAUSE: Duration = Duration::from_millis(20);
/// How long it may take to put back or delete dead letters, of which there may be millions.
const LETTERS_TIMEOUT: Duration = Duration::from_secs(3600);

/// The broker of a host that runs in another process. Queues cannot be served through it.
pub struct RemoteBroker {
    file: PathBuf,
    /// A connection on which nothing is to be answered, and when it was used last.
    kept: Mutex<Option<(Frames, Instant)>>,
}

/// The reason why the host did not answer a request.
pub(super) enum Missed {
    /// The host did not get the request.
    NotSent(String),
    /// Whether it did what was asked for is unknown.
    Unanswered(String),
    /// It answered that it did not.
    Refused(BrokerError),
}

impl Missed {
    /// The error for those who asked; `open` says what may have happened.
    pub(super) fn told(self, file: &Path, open: &str) -> BrokerError {
        let file = file.display();
        let context = match self {
            Self::Refused(error) => return error,
            Self::NotSent(cause) => format!("host of queue file {file} is gone: {cause}; nothing was sent to it"),
            Self::Unanswered(cause) => format!("host of queue file {file} did not answer: {cause}; {open}"),
        };
        BrokerError::new(BrokerErrorKind::Unavailable, context)
    }
}

/// Connects to the host that has a queue file, if it is one that can be trusted with what is sent.
async fn link(file: &Path) -> io::Result<Frames> {
    let socket = Socket::of(file)?;
    let connecting = async {
        loop {
            match UnixStream::connect(socket.way()).await {
                // As many connections wait as the system lets.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(PAUSE).await,
                connected => return connected,
            }
        }
    };
    let timed_out = |_| io::Error::new(io::ErrorKind::TimedOut, "host is busy with connections of other commands");
    let stream = timeout(CONNECT_TIMEOUT, connecting).await.map_err(timed_out)??;
    check_peer(&stream, file)?;
    Ok(frames(stream))
}

/// An error unless it is our own user that listens, or one who can do to the file what we can.
fn check_peer(stream: &UnixStream, file: &Path) -> io::Result<()> {
    const ROOT: u32 = 0;
    let peer = stream.peer_cred()?.uid();
    let own = rustix::process::geteuid().as_raw();
    let is_owner = || file.metadata().is_ok_and(|metadata| metadata.uid() == peer);
    if peer == own || peer == ROOT || own == ROOT && is_owner() {
        return Ok(());
    }
    let fault = format!("the socket belongs to user {peer}, not to user {own} or root; nothing was sent");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, fault))
}

impl RemoteBroker {
    /// Connects to the host that has a queue file.
    pub async fn connect(file: &Path) -> io::Result<Self> {
        let frames = link(file).await?;
        Ok(Self { file: file.to_owned(), kept: Mutex::new(Some((frames, Instant::now()))) })
    }

    /// The limits and the usage of each tenant of the host.
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

    /// At most `max` lines that the component of a receiver wrote behind a number; none where there is no such receiver.
    pub async fn logs(&self, receiver: &str, after: u64, max: usize) -> Result<Option<Vec<KeptLine>>, BrokerError> {
        match self.ask(Request::Logs { receiver: receiver.to_owned(), after, max }).await? {
            Response::Logs(lines) => Ok(lines),
            _ => Err(broken("no lines")),
        }
    }

    /// Has the host load every component whose file has changed.
    pub async fn reload(&self) -> Result<Vec<Reloaded>, BrokerError> {
        match self.ask(Request::Reload).await? {
            Response::Reloaded(components) => Ok(components),
            _ => Err(broken("nothing about components")),
        }
    }

    /// Has the host move messages from a queue to a topic, until `stop` or the end that is asked for. Messages for
    /// another broker are published to `to` here. Gives the number of messages moved.
    pub async fn pipe(
        &self,
        order: PipeOrder,
        to: Option<Arc<dyn Broker>>,
        stop: impl Future<Output = ()>,
    ) -> Result<u64, BrokerError> {
        let request = Request::Pipe(order);
        let told = |missed: Missed| missed.told(&self.file, &request.left_open());
        let mut frames = self.send(encode(&request)?, ANSWER_TIMEOUT).await.map_err(told)?;
        let followed = pipe::follow(&mut frames, to, stop).await;
        followed.unwrap_or_else(|error| Err(told(Missed::Unanswered(error.to_string()))))
    }

    /// Publishes, and tells what is known where that fails.
    pub(super) async fn try_publish(&self, publications: Vec<Publication>) -> Result<Vec<Receipt>, Missed> {
        let publications = publications.into_iter().map(WirePublication::from).collect();
        match self.try_ask(&Request::Publish(publications)).await? {
            Response::Published(receipts) => Ok(receipts),
            _ => Err(Missed::Unanswered(broken("no receipts").to_string())),
        }
    }

    async fn ask(&self, request: Request) -> Result<Response, BrokerError> {
        let asked = self.try_ask(&request).await;
        asked.map_err(|missed| missed.told(&self.file, &request.left_open()))
    }

    async fn try_ask(&self, request: &Request) -> Result<Response, Missed> {
        let patience = match request {
            Request::Reload => RELOAD_TIMEOUT,
            Request::Redrive(_) | Request::Purge(_) => LETTERS_TIMEOUT,
            _ => ANSWER_TIMEOUT,
        };
        let frame = encode(request).map_err(Missed::Refused)?;
        let mut frames = self.send(frame, patience).await?;
        let unanswered = |cause: String| Missed::Unanswered(cause);
        let answered = timeout(patience, frames.next()).await;
        let answered = answered.map_err(|_| unanswered(format!("nothing came within {patience:?}")))?;
        let answered = answered.ok_or_else(|| unanswered("connection was closed".into()))?;
        let answered = answered.map_err(|error| unanswered(error.to_string()))?;
        let response = decode::<Response>(&answered).map_err(|error| unanswered(error.to_string()))?;
        // A connection on which an answer was missed is not used again: the next one would be to another question.
        *self.kept.lock() = Some((frames, Instant::now()));
        response.into_result().map_err(Missed::Refused)
    }

    /// Sends on the connection that is kept, or on a new one where there is none or the host has closed it. The host
    /// ignores a request that was not sent in full.
    async fn send(&self, frame: bytes::Bytes, patience: Duration) -> Result<Frames, Missed> {
        let kept = self.kept.lock().take().filter(|(_, used)| used.elapsed() < KEPT_MAX);
        if let Some((mut frames, _)) = kept
            && let Ok(Ok(())) = timeout(patience, frames.send(frame.clone())).await
        {
            return Ok(frames);
        }
        let mut frames = link(&self.file).await.map_err(|error| Missed::NotSent(error.to_string()))?;
        match timeout(patience, frames.send(frame)).await {
            Ok(Ok(())) => Ok(frames),
            Ok(Err(error)) => Err(Missed::NotSent(error.to_string())),
            Err(_) => Err(Missed::NotSent(format!("not read within {patience:?}"))),
        }
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
        Capabilities::embedded()
    }

    async fn queue(&self, _: QueueSpec) -> Result<Arc<dyn Queue>, BrokerError> {
        Err(BrokerError::new(BrokerErrorKind::Unsupported, "queues cannot be served through another process"))
    }

    async fn publish(&self, publications: Vec<Publication>) -> Result<Vec<Receipt>, BrokerError> {
        let ids = Request::ids_of(&publications);
        self.try_publish(publications).await.map_err(|missed| missed.told(&self.file, &ids))
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
