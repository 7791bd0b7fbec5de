//! Real servers of brokers, which tests start themselves: on loopback, on a free port, in a directory of their own, and
//! ended by their id.

mod nats;
mod process;
mod rabbitmq;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use nats::NatsServer;
use process::Process;
pub use rabbitmq::RabbitServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How often a server is started anew where somebody else took its port meanwhile.
const STARTS_MAX: usize = 5;
/// How long it is waited before a server that does not answer yet is asked again.
const PAUSE: Duration = Duration::from_millis(20);

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

/// What a server says when it is spoken to, as far as it came in one piece; nothing where it does not answer.
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
