//! The host's end of the socket.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use wasmpost_delivery::{Broker, BrokerError, BrokerErrorKind, DeadLetterFilter, DeadLetters};
use wasmpost_msg::{Publication, chain};

use crate::gate::{Answer, Caller, Thing, allowed};
use crate::view::View;

use super::pipe::{self, Pipes};
use super::protocol::{Frames, LENGTH_BYTES, Request, Response, WireDeadLetter, decode, encode, frames_after};
use super::socket::Socket;

/// How many commands can be served at a time, how many others may wait for that, and how many may be connected that have
/// not said anything yet.
const SERVED_MAX: usize = 64;
const WAITING_MAX: usize = 256;
const SILENT_MAX: usize = 256;
/// How long a command may take to begin its first request, and to end any request that it has begun.
const FIRST_WORD_MAX: Duration = Duration::from_secs(5);
const REQUEST_MAX: Duration = Duration::from_secs(10);
/// How long a command may be silent between requests, and how long it may take to read an answer.
const SILENCE_MAX: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// How long a command that said something waits until others are served.
const TURN_MAX: Duration = Duration::from_secs(10);
/// The most dead letters in one answer; a client asks on.
const LETTERS_MAX: usize = 50;
/// The most lines of a log in one answer.
const LINES_MAX: usize = 500;

/// A socket that is listened on, until it is dropped.
pub struct Listener {
    socket: Socket,
    /// Device and number of the socket: another host may have put its own into the place.
    identity: (u64, u64),
    accepting: AbortHandle,
    served: Arc<Served>,
}

/// The parts of the host that commands can use.
struct Served {
    broker: Arc<dyn Broker>,
    view: Arc<dyn View>,
    pipes: Pipes,
    waiting: Semaphore,
    places: Semaphore,
    silent: Silent,
    /// Whether the host is ending in order.
    is_ending: AtomicBool,
}

/// Connections on which nothing was said yet, in the order in which they came. The oldest makes room for a new one.
#[derive(Default)]
struct Silent(Mutex<BTreeMap<u64, oneshot::Sender<()>>>);

impl Silent {
    /// Notes a connection. The channel that is returned ends when the connection has to make room.
    fn begin(&self, number: u64) -> oneshot::Receiver<()> {
        let (ending, ended) = oneshot::channel();
        let mut silent = self.0.lock();
        silent.insert(number, ending);
        if silent.len() > SILENT_MAX {
            silent.pop_first();
        }
        ended
    }

    fn end(&self, number: u64) {
        self.0.lock().remove(&number);
    }
}

/// Listens on the socket of a queue file and lets those who connect use the broker and look at the host. Only this user,
/// and root, can connect.
pub fn listen(file: &Path, broker: Arc<dyn Broker>, view: Arc<dyn View>) -> io::Result<Listener> {
    let socket = Socket::of(file)?;
    let way = socket.way();
    // The holder of the lock of the queue file owns the socket: an existing one was left by a process that died.
    match way.symlink_metadata() {
        Ok(metadata) if metadata.file_type().is_socket() => std::fs::remove_file(&way)?,
        Ok(_) => {
            let fault = "a file that is not a socket is in the way; move it";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, fault));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(&way)?;
    std::fs::set_permissions(&way, std::fs::Permissions::from_mode(0o600))?;
    let identity = identity(&way)?;
    let served = Served {
        broker,
        view,
        pipes: Pipes::default(),
        waiting: Semaphore::new(WAITING_MAX),
        places: Semaphore::new(SERVED_MAX),
        silent: Silent::default(),
        is_ending: AtomicBool::new(false),
    };
    let served = Arc::new(served);
    let accepting = tokio::spawn(accept(listener, Arc::clone(&served))).abort_handle();
    Ok(Listener { socket, identity, accepting, served })
}

fn identity(way: &Path) -> io::Result<(u64, u64)> {
    way.symlink_metadata().map(|metadata| (metadata.dev(), metadata.ino()))
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.served.is_ending.store(true, Ordering::Relaxed);
        self.accepting.abort();
        let way = self.socket.way();
        if identity(&way).is_ok_and(|identity| identity == self.identity) {
            drop(std::fs::remove_file(way));
        }
    }
}

async fn accept(listener: UnixListener, served: Arc<Served>) {
    let mut numbers = 0..;
    loop {
        match listener.accept().await {
            Ok((mut stream, _)) => {
                let served = Arc::clone(&served);
                let number = numbers.next().unwrap_or_default();
                let ended = served.silent.begin(number);
                tokio::spawn(async move {
                    let mut length = [0; LENGTH_BYTES];
                    let spoke = tokio::select! {
                        read = timeout(FIRST_WORD_MAX, stream.read_exact(&mut length)) => matches!(read, Ok(Ok(_))),
                        _ = ended => false,
                    };
                    served.silent.end(number);
                    if spoke && let Err(error) = converse(length, stream, &served).await {
                        let error = format!("{error:#}");
                        tracing::debug!(error, "connection of a command ended");
                    }
                });
            }
            Err(error) => {
                // Usually there are no file descriptors left; some will be free again soon.
                tracing::warn!(error = %chain(&error), "connection of a command was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// A request that the gate lets through. Only the user of the host and root can connect.
fn admitted(request: Request) -> Result<Request, BrokerError> {
    let action = request.action();
    match allowed(Some(&Caller::local()), action, Thing::Any) {
        Answer::Yes => Ok(request),
        _ => Err(BrokerError::new(BrokerErrorKind::Unsupported, format!("commands may not {}", action.as_str()))),
    }
}

/// A place among those who are served; none where too many wait, or for too long.
async fn place(served: &Served) -> Option<SemaphorePermit<'_>> {
    let _waiting = served.waiting.try_acquire().ok()?;
    timeout(TURN_MAX, served.places.acquire()).await.ok()?.ok()
}

async fn converse(length: [u8; LENGTH_BYTES], stream: UnixStream, served: &Served) -> anyhow::Result<()> {
    let peer = stream.peer_cred()?.uid();
    let own = rustix::process::geteuid().as_raw();
    anyhow::ensure!(peer == own || peer == 0, "user {peer} connected");
    let mut frames: Frames = frames_after(length, stream);
    let Some(_place) = place(served).await else {
        let text = format!("host is busy with requests of {SERVED_MAX} other commands; nothing was done, try again");
        let busy = Response::from(BrokerError::new(BrokerErrorKind::Unavailable, text));
        timeout(REQUEST_MAX, frames.send(encode(&busy)?)).await??;
        return Ok(());
    };
    let mut patience = REQUEST_MAX;
    while let Some(frame) = timeout(patience, frames.next()).await? {
        let response = match decode(&frame?).and_then(admitted) {
            Ok(Request::Pipe(order)) => {
                return pipe::serve(&mut frames, &*served.broker, &*served.view, &served.pipes, order).await;
            }
            Ok(request @ (Request::Redrive(_) | Request::Purge(_))) => {
                // A command that was ended puts back or deletes no more.
                let answering = answer(request, &*served.broker, &*served.view);
                tokio::select! {
                    biased;
                    answered = answering => answered.unwrap_or_else(Response::from),
                    _ = frames.next() => return Ok(()),
                }
            }
            Ok(request) => match answer(request, &*served.broker, &*served.view).await {
                // Those who asked go on to the next host, or do it themselves.
                Err(error) if error.kind() == BrokerErrorKind::Closed && served.is_ending.load(Ordering::Relaxed) => {
                    return Ok(());
                }
                answered => answered.unwrap_or_else(Response::from),
            },
            Err(error) => error.into(),
        };
        // One that does not fit into a frame says so, and the connection goes on.
        let frame = encode(&response).or_else(|error| encode(&Response::from(error)))?;
        timeout(ANSWER_MAX, frames.send(frame)).await??;
        patience = SILENCE_MAX;
    }
    Ok(())
}

async fn answer(request: Request, broker: &dyn Broker, view: &dyn View) -> Result<Response, BrokerError> {
    Ok(match request {
        Request::Publish(publications) => {
            let publications = publications.into_iter().map(Publication::from).collect();
            Response::Published(broker.publish(publications).await?)
        }
        Request::Stats => Response::Stats(broker.stats().await?),
        Request::List { filter, skip, max } => {
            let filter = DeadLetterFilter::try_from(filter)?;
            Response::Listed(dead_letters(broker)?.list(&filter, skip, max.min(LETTERS_MAX)).await?)
        }
        Request::Show { filter, skip, max } => {
            let filter = DeadLetterFilter::try_from(filter)?;
            let letters = dead_letters(broker)?.show(&filter, skip, max.min(LETTERS_MAX)).await?;
            Response::DeadLetters(letters.into_iter().map(WireDeadLetter::from).collect())
        }
        Request::Redrive(filter) => Response::Count(dead_letters(broker)?.redrive(&filter.try_into()?).await?),
        Request::Tenants => Response::Tenants(view.tenants()),
        Request::Receivers => Response::Receivers(view.receivers()),
        // It has the connection for itself: see above.
        Request::Pipe(_) => return Err(BrokerError::new(BrokerErrorKind::Unsupported, "a pipe has no single answer")),
        Request::Reload => Response::Reloaded(view.reload().await),
        Request::Logs { receiver, after, max } => Response::Logs(view.logs(&receiver, after, max.min(LINES_MAX))),
        Request::Purge(filter) => Response::Count(dead_letters(broker)?.purge(&filter.try_into()?).await?),
    })
}

fn dead_letters(broker: &dyn Broker) -> Result<&dyn DeadLetters, BrokerError> {
    let none = || BrokerError::new(BrokerErrorKind::Unsupported, "this broker shows no dead letters");
    broker.dead_letters().ok_or_else(none)
}
