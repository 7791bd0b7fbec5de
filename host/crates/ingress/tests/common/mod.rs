//! A broker that does what a test says, a listener before it, and a client.
#![allow(dead_code)] // Not every file of tests uses all of it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use wasmpost_delivery::{
    Broker, BrokerError, BrokerErrorKind, Capabilities, DeadLetters, Queue, QueueSpec, QueueStats, Receipt,
};
use wasmpost_ingress::{
    Bound, CloudEvents, Endpoint, EndpointOptions, Ingress, ListenerOptions, Method, Signature, TlsFiles,
};
use wasmpost_msg::Publication;

/// How long anything may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Keeps what is published, in lists as they came, or fails as it is told to.
pub(crate) struct Fake {
    pub(crate) stored: Mutex<Vec<Vec<Publication>>>,
    pub(crate) fault: Mutex<Option<fn() -> BrokerError>>,
    /// How many calls may be answered.
    pub(crate) gate: Semaphore,
    /// How many calls have begun.
    pub(crate) begun: Semaphore,
}

impl Fake {
    /// One that answers at once.
    pub(crate) fn open() -> Arc<Self> {
        let fake = Self::closed();
        fake.gate.add_permits(Semaphore::MAX_PERMITS / 2);
        fake
    }

    /// One that answers as many calls as its gate lets through.
    pub(crate) fn closed() -> Arc<Self> {
        let gate = Semaphore::new(0);
        let begun = Semaphore::new(0);
        Arc::new(Self { stored: Mutex::default(), fault: Mutex::default(), gate, begun })
    }

    /// Waits until a call has begun.
    pub(crate) async fn began(&self) {
        tokio::time::timeout(PATIENCE, self.begun.acquire()).await.unwrap().unwrap().forget();
    }
}

#[async_trait]
impl Broker for Fake {
    fn capabilities(&self) -> Capabilities {
        Capabilities::in_memory()
    }

    async fn queue(&self, _: QueueSpec) -> Result<Arc<dyn Queue>, BrokerError> {
        Err(BrokerError::new(BrokerErrorKind::Unsupported, "no queues"))
    }

    async fn publish(&self, publications: Vec<Publication>) -> Result<Vec<Receipt>, BrokerError> {
        self.begun.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
        if let Some(fault) = *self.fault.lock() {
            return Err(fault());
        }
        let receipt = |publication: &Publication| Receipt {
            id: publication.id.clone().unwrap_or_else(|| "made".into()),
            duplicate: false,
        };
        let receipts = publications.iter().map(receipt).collect();
        self.stored.lock().push(publications);
        Ok(receipts)
    }

    async fn stats(&self) -> Result<Vec<QueueStats>, BrokerError> {
        Ok(Vec::new())
    }

    fn dead_letters(&self) -> Option<&dyn DeadLetters> {
        None
    }

    async fn close(&self) -> Result<(), BrokerError> {
        Ok(())
    }
}

/// The rules for `/hooks` unless a test has its own.
pub(crate) fn options() -> EndpointOptions {
    EndpointOptions {
        path: "/hooks".into(),
        topic: "hooks".into(),
        signature: Signature::new(Method::None, None).unwrap(),
        headers: Vec::new(),
        id_header: None,
        key_header: None,
        cloud_events: CloudEvents::Accepted,
        content_types: Vec::new(),
        body_bytes_max: 1 << 20,
        rate: None,
        time: PATIENCE,
    }
}

/// Serves a path, encrypted with a certificate.
pub(crate) fn serve_encrypted(broker: &Arc<Fake>, tls: TlsFiles) -> Ingress {
    let listener = ListenerOptions { address: ([127, 0, 0, 1], 0).into(), tls: Some(tls), connections_max: 4 };
    let endpoint = Endpoint::new(options(), Arc::clone(broker) as Arc<dyn Broker>);
    Ingress::serve(Bound::bind(&listener).unwrap(), vec![endpoint]).unwrap()
}

/// Serves a path on a port of loopback, for so many connections.
pub(crate) fn serve(broker: &Arc<Fake>, options: EndpointOptions, connections_max: usize) -> Ingress {
    let listener = ListenerOptions { address: ([127, 0, 0, 1], 0).into(), tls: None, connections_max };
    let endpoint = Endpoint::new(options, Arc::clone(broker) as Arc<dyn Broker>);
    Ingress::serve(Bound::bind(&listener).unwrap(), vec![endpoint]).unwrap()
}

/// An answer: its status, its head, and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let pairs = self.head.lines().filter_map(|line| line.split_once(": "));
        pairs.into_iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// A connection.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// Sends some bytes. A server that closed the connection is not minded: its answer tells why.
    pub(crate) fn send(&mut self, text: impl AsRef<[u8]>) -> bool {
        self.0.write_all(text.as_ref()).is_ok()
    }

    /// The next answer; none if the connection ends before.
    pub(crate) fn receive(&mut self) -> Option<Answer> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: String::new() };
        let mut body = vec![0; answer.header("content-length").map_or(0, |length| length.parse().unwrap())];
        self.0.read_exact(&mut body).ok()?;
        answer.body = String::from_utf8(body).unwrap();
        Some(answer)
    }

    /// Whether the server closes the connection now.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0) | Err(_))
    }

    pub(crate) fn end_sending(&mut self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }
}

/// The text of a POST to `/hooks`.
pub(crate) fn post(headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("POST /hooks HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n", body.len());
    headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    text + "\r\n" + body
}

/// Does something that blocks, while the server goes on.
pub(crate) async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::time::timeout(PATIENCE * 2, tokio::task::spawn_blocking(work)).await.unwrap().unwrap()
}

/// Sends one request on a connection of its own.
pub(crate) async fn ask(address: SocketAddr, text: String) -> Answer {
    apart(move || {
        let mut client = Client::connect(address);
        client.send(&text);
        client.receive().unwrap_or_else(|| panic!("no answer to {text:?}"))
    })
    .await
}
