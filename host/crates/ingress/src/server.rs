//! The server of a listener: connections, and the requests on them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmpost_msg::chain;

use crate::body::leaving;
use crate::buffer::Buffers;
use crate::complaints::Complaints;
use crate::connections::{Connections, Phase, Place};
use crate::endpoint::{Endpoint, STORE_MAX};
use crate::listener::Bound;
use crate::problem::{Answer, Problem};

/// How long a sender may take for the head of a request, the time since the last one included.
const HEAD_MAX: Duration = Duration::from_secs(15);
/// How long agreeing on encryption may take.
const TLS_MAX: Duration = Duration::from_secs(10);
/// The most bytes of a head, and the most headers in it.
const HEAD_BYTES_MAX: usize = 32 << 10;
const HEADERS_MAX: usize = 100;
/// How long a connection may stand still between requests, or while a sender takes no answers.
const STILL_MAX: Duration = Duration::from_secs(30);
/// How long a connection that says nothing is listened to once the host ends.
const LAST_WORD_MAX: Duration = Duration::from_millis(200);
/// The memory for bodies that arrive, over all connections.
const BUFFERS_BYTES_MAX: usize = 256 << 20;
/// The pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The answer to a connection that there is no place for.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Type: application/problem+json\r\n\
    Content-Length: 112\r\nConnection: close\r\n\r\n\
    {\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"all connections are in use; send the request again later\"}";

/// A listener that is served, until it is stopped or dropped.
pub struct Ingress {
    watched: Watched,
    stop: CancellationToken,
    accepting: JoinHandle<()>,
    tasks: TaskTracker,
}

/// A view of a listener: its address, its connections, and how its paths answered.
#[derive(Clone)]
pub struct Watched {
    address: SocketAddr,
    connections: Arc<Connections>,
    shared: Arc<Shared>,
}

/// All that connections of a listener share.
struct Shared {
    endpoints: Vec<Endpoint>,
    buffers: Arc<Buffers>,
    stop: CancellationToken,
    http: http1::Builder,
    tls: Option<TlsAcceptor>,
}

impl Ingress {
    /// Serves what is bound. It needs a runtime of tokio.
    ///
    /// # Errors
    ///
    /// That of the system, where the runtime cannot use the listener.
    pub fn serve(bound: Bound, endpoints: Vec<Endpoint>) -> std::io::Result<Self> {
        let address = bound.address();
        let listener = TcpListener::from_std(bound.listener)?;
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let connections = Connections::new(bound.connections_max.max(1), stop.clone());
        for endpoint in &endpoints {
            tracing::info!(%address, path = endpoint.path(), topic = endpoint.topic(), "listening for requests");
        }
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HEAD_MAX)
            .max_buf_size(2 * HEAD_BYTES_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX);
        let shared =
            Shared { endpoints, buffers: Buffers::new(BUFFERS_BYTES_MAX), stop: stop.clone(), http, tls: bound.tls };
        let shared = Arc::new(shared);
        let accepting = accept(listener, Arc::clone(&shared), Arc::clone(&connections), tasks.clone());
        let watched = Watched { address, connections, shared };
        Ok(Self { watched, stop, accepting: tokio::spawn(accepting), tasks })
    }

    /// The address that is listened on.
    pub fn address(&self) -> SocketAddr {
        self.watched.address
    }

    /// A view of it, which others can keep.
    pub fn watched(&self) -> Watched {
        self.watched.clone()
    }

    /// Takes no more requests, answers those whose messages are being stored, and refuses the others. Gives up after
    /// `patience`.
    pub async fn stop(self, patience: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(patience, self.tasks.wait()).await.is_err() {
            let connections = self.watched.connections();
            tracing::warn!(address = %self.watched.address, connections, "connections did not end in time, and are closed");
        }
    }
}

impl Watched {
    /// The address that is listened on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The paths at which messages are taken.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.shared.endpoints
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.connections.open()
    }
}

impl Drop for Ingress {
    fn drop(&mut self) {
        self.stop.cancel();
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, connections: Arc<Connections>, tasks: TaskTracker) {
    let complaints = Complaints::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => match connections.enter() {
                Some(place) => drop(tasks.spawn(serve(stream, place, Arc::clone(&shared)))),
                None if shared.tls.is_none() => drop(stream.try_write(BUSY)),
                None => {}
            },
            Err(error) => {
                // Usually there are no file descriptors left; some will be free again soon.
                if let Some(times) = complaints.add() {
                    tracing::warn!(times, error = %chain(&error), "connection was not accepted");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection to its end.
async fn serve(stream: TcpStream, place: Place, shared: Arc<Shared>) {
    // An answer is small and waits for nothing.
    drop(stream.set_nodelay(true));
    let Some(tls) = &shared.tls else { return converse(stream, &place, &shared).await };
    let agreed = tokio::select! {
        agreed = timeout(TLS_MAX, tls.accept(stream)) => agreed,
        () = place.leave.cancelled() => return,
    };
    match agreed {
        Ok(Ok(stream)) => converse(stream, &place, &shared).await,
        Ok(Err(error)) => tracing::debug!(error = %chain(&error), "connection was not encrypted"),
        Err(_) => tracing::debug!("encrypting a connection took too long"),
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, place: &Place, shared: &Shared) {
    let service = service_fn(|request| answer(request, place, shared));
    let mut connection = std::pin::pin!(shared.http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                tracing::debug!(error = %chain(&error), "connection ended");
            }
            return;
        }
        () = place.leave.cancelled() => {}
        () = still(place) => return,
    }
    let is_waiting = place.phase().0 == Phase::Waiting;
    if is_waiting && !shared.stop.is_cancelled() {
        // Another connection needs its place at once.
        return;
    }
    connection.as_mut().graceful_shutdown();
    // A request that came just before is answered.
    let rest = if is_waiting { LAST_WORD_MAX } else { STORE_MAX + LAST_WORD_MAX };
    drop(timeout(rest, connection).await);
}

/// Waits until a connection has stood still for too long.
async fn still(place: &Place) {
    loop {
        match place.phase() {
            (Phase::Waiting, since) if since >= STILL_MAX => return,
            (Phase::Waiting, since) => tokio::time::sleep(STILL_MAX - since).await,
            // Reading and storing have times of their own.
            _ => tokio::time::sleep(STILL_MAX).await,
        }
    }
}

async fn answer(request: Request<Incoming>, place: &Place, shared: &Shared) -> Result<Answer, Infallible> {
    place.set(Phase::Reading);
    let path = request.uri().path();
    let endpoint = shared.endpoints.iter().find(|endpoint| endpoint.path() == path);
    let answer = match endpoint {
        _ if shared.stop.is_cancelled() => leaving().answer(),
        Some(endpoint) => endpoint.take(request, place, &shared.buffers).await,
        None => Problem::not_found().answer(),
    };
    place.set(Phase::Waiting);
    Ok(answer)
}
