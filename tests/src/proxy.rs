//! A proxy of TCP connections on loopback, whose network can be slow, cut, or swallow everything.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::PATIENCE;

/// The most pieces that are under way in one direction of a connection.
const PIECES_MAX: usize = 256;

/// The state of the network between the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Hands everything on at once.
    Pass,
    /// Hands everything on after this time, in both directions.
    Delay(Duration),
    /// Resets every connection there is, and every new one.
    Reset,
    /// Hands nothing on and says nothing, until another mode is set.
    BlackHole,
}

/// A proxy to one port. It ends when it is dropped.
pub struct Proxy {
    port: u16,
    mode: watch::Sender<Mode>,
    open: watch::Sender<usize>,
    accepting: JoinHandle<()>,
}

/// Counts a connection for as long as it is open.
struct Open(watch::Sender<usize>);

impl Proxy {
    /// Starts a proxy to a port of loopback.
    pub async fn start(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mode = watch::Sender::new(Mode::Pass);
        let open = watch::Sender::new(0);
        let seen = mode.subscribe();
        let count = open.clone();
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let opened = Open::new(&count);
                let seen = seen.clone();
                tokio::spawn(async move {
                    connection(stream, (Ipv4Addr::LOCALHOST, to).into(), seen).await;
                    drop(opened);
                });
            }
        });
        Self { port, mode, open, accepting }
    }

    /// Where it listens, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on does as `mode` says, to connections that there are as well.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Resets every connection there is. Those that are made afterwards are handed on.
    pub async fn cut(&self) {
        self.set(Mode::Reset);
        let mut open = self.open.subscribe();
        let none = tokio::time::timeout(PATIENCE, open.wait_for(|open| *open == 0)).await;
        assert!(none.is_ok(), "connections are reset");
        self.set(Mode::Pass);
    }
}

impl Open {
    fn new(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|open| *open += 1);
        Self(count.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Open connections see that the mode cannot change any more, and end.
        self.accepting.abort();
    }
}

/// Takes a connection to its end. Connections end with the proxy too.
async fn connection(mut near: TcpStream, to: SocketAddr, mode: watch::Receiver<Mode>) {
    // Nobody who waits for a small answer waits for a larger one.
    near.set_nodelay(true).unwrap();
    let mut of_reset = mode.clone();
    let mut of_far = mode.clone();
    let mut far = None;
    let passing = async {
        passes(&mut of_far).await?;
        let far = far.insert(TcpStream::connect(to).await.ok()?);
        far.set_nodelay(true).ok()?;
        let ((near_read, near_write), (far_read, far_write)) = (near.split(), far.split());
        tokio::join!(pump(near_read, far_write, mode.clone()), pump(far_read, near_write, mode.clone()));
        Some(())
    };
    let was_reset = tokio::select! {
        biased;
        reset = of_reset.wait_for(|mode| *mode == Mode::Reset) => reset.is_ok(),
        _ = passing => false,
    };
    if was_reset {
        for stream in [Some(near), far].into_iter().flatten() {
            drop(stream.set_zero_linger());
        }
    }
}

/// Waits while nothing is handed on. None where the proxy has ended.
async fn passes(mode: &mut watch::Receiver<Mode>) -> Option<Mode> {
    mode.wait_for(|mode| *mode != Mode::BlackHole).await.ok().map(|mode| *mode)
}

/// Hands one direction on until its end.
async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut mode: watch::Receiver<Mode>) {
    let (send, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    let mut seen = mode.clone();
    let reading = async move {
        let mut piece = vec![0; 16 << 10];
        while let Some(now) = passes(&mut mode).await {
            let read = tokio::select! {
                biased;
                changed = mode.changed() => if changed.is_ok() { continue } else { break },
                read = from.read(&mut piece) => read.unwrap_or(0),
            };
            let delay = if let Mode::Delay(delay) = now { delay } else { Duration::ZERO };
            if read == 0 || send.send((Instant::now() + delay, piece[..read].to_vec())).await.is_err() {
                break;
            }
        }
    };
    let writing = async move {
        while let Some((due, piece)) = queued.recv().await {
            tokio::time::sleep_until(due).await;
            if passes(&mut seen).await.is_none() || to.write_all(&piece).await.is_err() {
                return;
            }
        }
        drop(to.shutdown().await);
    };
    tokio::join!(reading, writing);
}
