//! A ledger of effects outside of every host and broker: a server that guests ask over HTTP, once for each attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::PATIENCE;

/// A ledger. It ends when it is dropped.
pub struct Ledger {
    origin: String,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    entries: watch::Sender<Entries>,
    holds: watch::Sender<bool>,
    next: Mutex<u64>,
}

/// The record of each message, by its id.
#[derive(Default)]
struct Entries {
    /// How often it was asked for.
    times: BTreeMap<String, usize>,
    /// Questions that were not answered yet, each with a number of its own.
    open: BTreeSet<(u64, String)>,
}

impl Ledger {
    /// Starts a ledger that answers at once.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            entries: watch::Sender::default(),
            holds: watch::Sender::new(false),
            next: Mutex::default(),
        });
        let accepting = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(answer(stream, Arc::clone(&shared)));
                }
            }
        });
        Self { origin, shared, accepting }
    }

    /// Its address for guests.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// From now on no question is answered, so that receivers that ask stay at work.
    pub fn hold(&self) {
        self.shared.holds.send_replace(true);
    }

    /// Answers all that is held, and at once from now on.
    pub fn release(&self) {
        self.shared.holds.send_replace(false);
    }

    /// Waits until so many questions are held at a time, and gives the ids.
    pub async fn held(&self, count: usize) -> BTreeSet<String> {
        self.wait("held", |entries| entries.open.len() == count).await;
        self.shared.entries.borrow().open.iter().map(|(_, id)| id.clone()).collect()
    }

    /// Waits until so many messages have been asked for.
    pub async fn seen(&self, count: usize) {
        self.wait("seen", |entries| entries.times.len() >= count).await;
    }

    /// Waits until all of these messages have been asked for more than once.
    pub async fn repeated(&self, ids: &BTreeSet<String>) {
        let is_repeated =
            |entries: &Entries| ids.iter().all(|id| entries.times.get(id).is_some_and(|times| *times > 1));
        self.wait("repeated", is_repeated).await;
    }

    /// How often each message was asked for.
    pub fn times(&self) -> BTreeMap<String, usize> {
        self.shared.entries.borrow().times.clone()
    }

    async fn wait(&self, what: &str, is_so: impl Fn(&Entries) -> bool) {
        let began = Instant::now();
        let mut entries = self.shared.entries.subscribe();
        let waited = tokio::time::timeout(PATIENCE, entries.wait_for(is_so)).await.is_ok();
        let times = self.times().len();
        let open = self.shared.entries.borrow().open.len();
        assert!(waited, "{what} did not come in {:?}: {times} messages seen, {open} held", began.elapsed());
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Notes one question, and answers it with the id when nothing is held.
async fn answer(stream: TcpStream, shared: Arc<Shared>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let id = line.split(' ').nth(1)?.strip_prefix('/')?.to_owned();
    while line.trim() != "" {
        line.clear();
        stream.read_line(&mut line).await.ok()?;
    }
    let number = {
        let mut next = shared.next.lock().unwrap();
        *next += 1;
        *next
    };
    let entry = (number, id.clone());
    shared.entries.send_modify(|entries| {
        *entries.times.entry(id.clone()).or_default() += 1;
        entries.open.insert(entry.clone());
    });
    let mut holds = shared.holds.subscribe();
    let mut more = [0];
    let is_there = tokio::select! {
        released = holds.wait_for(|holds| !holds) => released.is_ok(),
        // A caller that sent its request has nothing more to send: it is gone.
        _ = stream.read(&mut more) => false,
    };
    if is_there {
        let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{id}", id.len());
        drop(stream.write_all(answer.as_bytes()).await);
    }
    shared.entries.send_modify(|entries| {
        entries.open.remove(&entry);
    });
    Some(())
}
