//! The host's end of the socket.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use wasmpost_delivery::{Broker, BrokerError, BrokerErrorKind, DeadLetterFilter, DeadLetters};
use wasmpost_msg::Publication;

use crate::host::View;

use super::pipe::{self, Pipes};
use super::protocol::{Frames, Request, Response, WireDeadLetter, decode, encode, frames};

/// How many commands can be connected at a time.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// The most dead letters in one answer; a client asks on.
const LETTERS_MAX: usize = 50;

/// A socket that is listened on, until it is dropped.
pub struct Listener {
    path: PathBuf,
    accepting: AbortHandle,
}

/// Listens on a socket and lets those who connect use the broker and look at the host. Only this user can connect.
pub fn listen(path: &Path, broker: Arc<dyn Broker>, view: Arc<dyn View>) -> io::Result<Listener> {
    // Whoever holds the lock of the queue file owns the socket; what lies there is left over from a process that died.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    let accepting = tokio::spawn(accept(listener, broker, view)).abort_handle();
    Ok(Listener { path: path.to_owned(), accepting })
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.accepting.abort();
        drop(std::fs::remove_file(&self.path));
    }
}

async fn accept(listener: UnixListener, broker: Arc<dyn Broker>, view: Arc<dyn View>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let pipes = Pipes::default();
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (broker, view, pipes) = (Arc::clone(&broker), Arc::clone(&view), pipes.clone());
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, &*broker, &*view, &pipes).await {
                        tracing::debug!(%error, "connection of a command ended");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                // Usually there are no file descriptors left; some will be free again soon.
                tracing::warn!(%error, "connection of a command was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, broker: &dyn Broker, view: &dyn View, pipes: &Pipes) -> anyhow::Result<()> {
    let mut frames: Frames = frames(stream);
    while let Some(frame) = tokio::time::timeout(SILENCE_MAX, frames.next()).await? {
        let response = match decode(&frame?) {
            Ok(Request::Pipe(order)) => return pipe::serve(&mut frames, broker, view, pipes, order).await,
            Ok(request) => answer(request, broker, view).await.unwrap_or_else(Response::from),
            Err(error) => error.into(),
        };
        // One that does not fit into a frame says so, and the connection goes on.
        let frame = encode(&response).or_else(|error| encode(&Response::from(error)))?;
        tokio::time::timeout(SILENCE_MAX, frames.send(frame)).await??;
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
        Request::Purge(filter) => Response::Count(dead_letters(broker)?.purge(&filter.try_into()?).await?),
    })
}

fn dead_letters(broker: &dyn Broker) -> Result<&dyn DeadLetters, BrokerError> {
    let none = || BrokerError::new(BrokerErrorKind::Unsupported, "this broker shows no dead letters");
    broker.dead_letters().ok_or_else(none)
}
