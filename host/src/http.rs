//! Serving HTTP with bounds: connections, heads, times. Beyond a connection, a slow or silent peer costs nothing.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use wasmpost_msg::chain;

/// The bounds of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpBounds {
    /// The most connections at a time. Others wait in the queue of the system.
    pub connections: usize,
    /// How long a peer may take for a TLS handshake, for the head of a request, and between two requests.
    pub head_time: Duration,
    /// How long a connection may last. One that is older ends after the request that it is at.
    pub life: Duration,
    /// The most headers of a request.
    pub headers: usize,
    /// The largest head of a request, in bytes.
    pub head_bytes: usize,
}

impl Default for HttpBounds {
    /// 256 connections, ten seconds for a head, ten minutes for a connection, 64 headers, 32 KiB.
    fn default() -> Self {
        Self {
            connections: 256,
            head_time: Duration::from_secs(10),
            life: Duration::from_secs(600),
            headers: 64,
            head_bytes: 32 << 10,
        }
    }
}

/// How long a connection that has lived long enough, or whose listener ends, may take for the request that it is at.
const ENDING_MAX: Duration = Duration::from_secs(5);
/// The pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The TLS of a listener, from a PEM file with certificates and one with a key.
pub fn tls(certificate_file: &Path, key_file: &Path) -> io::Result<TlsAcceptor> {
    let fault = |file: &Path, error: String| io::Error::other(format!("{}: {error}", file.display()));
    let chain = CertificateDer::pem_file_iter(certificate_file).and_then(Iterator::collect);
    let chain: Vec<_> = chain.map_err(|error| fault(certificate_file, error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| fault(key_file, error.to_string()))?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| fault(certificate_file, error.to_string()))?;
    let config = config.with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.map_err(|error| fault(certificate_file, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until `stop` is cancelled; requests that are under way then may end.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    service: axum::Router,
    bounds: HttpBounds,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(bounds.connections));
    loop {
        let accepting = async {
            // It is never closed.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = accepting => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let tls = tls.clone();
                let service = service.clone();
                let stop = stop.clone();
                tokio::spawn(async move {
                    serve_stream(stream, tls, service, bounds, stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Usually there are no file descriptors left; some will be free again soon.
                tracing::warn!(error = %chain(&error), "HTTP connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_stream(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    service: axum::Router,
    bounds: HttpBounds,
    stop: CancellationToken,
) {
    // Answers are small: none waits for more to send.
    drop(stream.set_nodelay(true));
    match tls {
        None => serve_connection(stream, service, bounds, stop).await,
        Some(tls) => match timeout(bounds.head_time, tls.accept(stream)).await {
            Ok(Ok(stream)) => serve_connection(stream, service, bounds, stop).await,
            Ok(Err(error)) => tracing::debug!(error = %chain(&error), "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake took too long"),
        },
    }
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: axum::Router,
    bounds: HttpBounds,
    stop: CancellationToken,
) {
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds.head_time).half_close(false);
    http.max_headers(bounds.headers).max_buf_size(bounds.head_bytes.max(8192));
    let service = TowerToHyperService::new(service);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stop.cancelled() => None,
        () = tokio::time::sleep(bounds.life) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            timeout(ENDING_MAX, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %chain(&error), "HTTP connection ended");
    }
}
