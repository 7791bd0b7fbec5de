//! A server of HTTP that answers as its tests need it, a name service that says what it is told to, and certificates.
#![allow(dead_code, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)] // Each test file uses a part.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use wasmpost_sandbox::Resolver;
use wasmpost_tests::PATIENCE;
use wasmpost_tests::certificates::Authority;

/// A server on an address of this machine, as long as the test runs.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

struct Seen {
    /// Connections that were made, and those that ended.
    made: watch::Sender<usize>,
    ended: watch::Sender<usize>,
    /// The heads of all requests.
    heads: Mutex<Vec<String>>,
}

impl Server {
    /// Answers on a port that was free.
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0", None).await
    }

    /// The same behind TLS, or at a place.
    pub(crate) async fn start_at(address: &str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let seen = Seen { made: watch::Sender::new(0), ended: watch::Sender::new(0), heads: Mutex::default() };
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(seen);
        tokio::spawn(accept(listener, tls, Arc::clone(&seen)));
        Self { address, seen }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        *self.seen.made.borrow()
    }

    /// The heads of the requests that it got.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.seen.heads.lock().clone()
    }

    /// Waits until all connections that were made have ended.
    pub(crate) async fn until_left_alone(&self) {
        let made = self.connections();
        let mut ended = self.seen.ended.subscribe();
        tokio::time::timeout(PATIENCE, ended.wait_for(|ended| *ended == made)).await.unwrap().unwrap();
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, seen: Arc<Seen>) {
    while let Ok((stream, _)) = listener.accept().await {
        seen.made.send_modify(|made| *made += 1);
        let tls = tls.clone();
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            // A client may leave whenever it likes.
            drop(serve(stream, tls, &seen).await);
            seen.ended.send_modify(|ended| *ended += 1);
        });
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, seen: &Seen) -> io::Result<()> {
    match tls {
        Some(tls) => answer(tls.accept(stream).await?, seen).await,
        None => answer(stream, seen).await,
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, seen: &Seen) -> io::Result<()> {
    let head = read_head(&mut stream).await?;
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    seen.heads.lock().push(head);
    let (path, query) = path.split_once('?').unwrap_or((&path, ""));
    let whole = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    match path {
        "/hello" => stream.write_all(whole("hello").as_bytes()).await?,
        "/redirect" => {
            let head = format!("HTTP/1.1 302 Found\r\nLocation: {query}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
        }
        "/cut" => return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello").await,
        "/slow" => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello").await?,
        "/declared" => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await?,
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
            loop {
                stream.write_all(b"5\r\nhello\r\n").await?;
            }
        }
        "/headers" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            for number in 0..64 {
                stream.write_all(format!("X-{number}: {}\r\n", "x".repeat(1024)).as_bytes()).await?;
            }
            stream.write_all(b"Content-Length: 0\r\n\r\n").await?;
        }
        "/long-head" => {
            let mebibyte = |text: &str| text.repeat((1 << 20) / text.len());
            let (reason, fields) = match query {
                "lines" => ("OK".to_owned(), mebibyte("X: y\r\n")),
                "reason" => (mebibyte("x"), String::new()),
                _ => ("OK".to_owned(), format!("X-Long: {}\r\n", mebibyte("x"))),
            };
            let head = format!("HTTP/1.1 200 {reason}\r\n{fields}Content-Length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
        }
        // Two informational heads, neither of which is too long by itself.
        "/early-long" => {
            let early = format!("HTTP/1.1 103 Early Hints\r\nX-A: {}\r\n\r\n", "x".repeat(20 << 10));
            stream.write_all(early.repeat(2).as_bytes()).await?;
            stream.write_all(whole("hello").as_bytes()).await?;
        }
        // As many informational heads as the query says, or without end.
        "/early" => {
            let mut left = query.parse().unwrap_or(u64::MAX);
            let early = b"HTTP/1.1 103 Early Hints\r\nX-A: b\r\n\r\n";
            while left > 0 {
                stream.write_all(early).await?;
                left -= 1;
            }
            stream.write_all(whole("hello").as_bytes()).await?;
        }
        // Also `/stall`: reads what comes and never answers.
        _ => {}
    }
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop)
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(head).unwrap())
}

/// A name service: each name has the answers that it gives one after the other, and the last for ever.
#[derive(Debug, Default)]
pub(crate) struct Names {
    answers: Mutex<HashMap<String, VecDeque<Vec<IpAddr>>>>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    /// A name and its answers, each a list of addresses.
    pub(crate) fn with(self, name: &str, answers: &[&[&str]]) -> Self {
        let addresses = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        self.answers.lock().insert(name.to_owned(), answers.iter().map(addresses).collect());
        self
    }

    /// The names that were asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

#[async_trait::async_trait]
impl Resolver for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.lock().push(name.to_owned());
        let mut all = self.answers.lock();
        let answers = all.get_mut(name).ok_or_else(|| io::Error::other("no such name"))?;
        if answers.len() > 1 { Ok(answers.pop_front().unwrap()) } else { Ok(answers[0].clone()) }
    }
}

/// The certificate of a new authority, and TLS for a server that it certified under a name.
pub(crate) fn certified(name: &str) -> (Vec<u8>, TlsAcceptor) {
    let authority = Authority::new();
    let certified = authority.certify(name);
    let chain = vec![CertificateDer::from(certified.der())];
    let key = PrivateKeyDer::try_from(certified.key_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    (authority.der().to_vec(), TlsAcceptor::from(Arc::new(config)))
}
