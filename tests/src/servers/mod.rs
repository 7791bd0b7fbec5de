//! Real servers of brokers, which tests start themselves: on loopback, on a free port, in a directory of their own, and
//! ended by their id.

mod nats;
mod postgres;
mod process;
mod rabbitmq;
mod redis;
pub mod virtual_hosts;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use nats::NatsServer;
pub use postgres::PostgresServer;
use process::Process;
pub use rabbitmq::RabbitServer;
pub use redis::RedisServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How often a server is started anew where somebody else took its port meanwhile.
const STARTS_MAX: usize = 5;
/// How long it is waited before a server that does not answer yet is asked again.
const PAUSE: Duration = Duration::from_millis(20);

/// A kind of broker that is a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// NATS with JetStream.
    Nats,
    /// RabbitMQ.
    Rabbit,
}

/// A server that runs, of any kind.
pub enum Server {
    /// NATS with JetStream.
    Nats(NatsServer),
    /// RabbitMQ.
    Rabbit(RabbitServer),
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Nats, Self::Rabbit];

    /// The name, as in the names of tests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::Rabbit => "rabbitmq",
        }
    }

    /// The program or file that is missing to start one, if any.
    pub fn missing(self) -> Option<String> {
        match self {
            Self::Nats => nats::program().err(),
            Self::Rabbit => rabbitmq::program().err(),
        }
    }

    /// Starts one.
    pub async fn start(self) -> Result<Server, String> {
        Ok(match self {
            Self::Nats => Server::Nats(NatsServer::start().await?),
            Self::Rabbit => Server::Rabbit(RabbitServer::start().await?),
        })
    }
}

impl Server {
    /// Where it is.
    pub fn url(&self) -> String {
        match self {
            Self::Nats(server) => server.url(),
            Self::Rabbit(server) => server.url(),
        }
    }

    /// Its port of loopback.
    pub fn port(&self) -> u16 {
        match self {
            Self::Nats(server) => server.port(),
            Self::Rabbit(server) => server.port(),
        }
    }

    /// The way to it through a proxy that listens on a port.
    pub fn url_by(&self, port: u16) -> String {
        self.url().replace(&format!(":{}", self.port()), &format!(":{port}"))
    }

    /// Kills it, as a crash does, and waits until it is gone.
    pub fn kill(&mut self) {
        match self {
            Self::Nats(server) => server.kill(),
            Self::Rabbit(server) => server.kill(),
        }
    }

    /// Waits until a queue of RabbitMQ, and with it what was declared before, would survive a crash.
    pub async fn keeps(&self, queue: &str) {
        match self {
            // Its confirmed messages are on its disk.
            Self::Nats(_) => {}
            Self::Rabbit(server) => server.keeps(queue).await,
        }
    }

    /// Starts it again where it was, with what it had.
    pub async fn restart(&mut self) -> Result<(), String> {
        match self {
            Self::Nats(server) => server.restart().await,
            Self::Rabbit(server) => server.restart().await,
        }
    }
}

/// A port of loopback that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A program: the one that a variable names, or the first one that is there of some places, or one in PATH.
fn find_program(variable: &str, places: &[PathBuf], name: &str) -> Option<PathBuf> {
    if let Some(given) = std::env::var_os(variable) {
        return Some(given.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|directory| directory.join(name));
    places.iter().cloned().chain(in_path).find(|program| program.is_file())
}

/// Where `make setup-brokers` puts what it builds.
fn brokers_directory() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)?;
    Some(cache.join("wasmpost/brokers"))
}

/// The first bytes that a server answers; nothing if it does not answer.
async fn greeting(port: u16, hello: &[u8]) -> Option<String> {
    let ask = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
        stream.write_all(hello).await.ok()?;
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer).await.ok()?;
        Some(String::from_utf8_lossy(&answer[..read]).into_owned())
    };
    tokio::time::timeout(Duration::from_secs(2), ask).await.ok()?
}

/// Waits until a server greets with its own name. Another one on its port is not taken for it.
async fn wait_until_ready(
    process: &mut Process,
    port: u16,
    hello: &[u8],
    name: &str,
    patience: Duration,
) -> Result<(), String> {
    let began = Instant::now();
    loop {
        if greeting(port, hello).await.is_some_and(|answer| answer.contains(name)) {
            return Ok(());
        }
        if let Some(status) = process.ended() {
            return Err(format!("{name} ended with {status}: {}", process.log()));
        }
        if began.elapsed() > patience {
            return Err(format!("{name} does not answer after {patience:?}: {}", process.log()));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
