//! A NATS server with JetStream, which syncs every write to its disk.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::{Process, STARTS_MAX, brokers_directory, find_program, free_port, wait_until_ready};

/// How long the server may take until it answers.
const READY_MAX: Duration = Duration::from_secs(20);

/// A NATS server that runs.
pub struct NatsServer {
    process: Process,
    port: u16,
    directory: TempDir,
}

impl NatsServer {
    /// Starts a server that lets everybody in. An error tells what is missing.
    pub async fn start() -> Result<Self, String> {
        Self::start_with("").await
    }

    /// The same with more configuration, as users or TLS.
    pub async fn start_with(extra_config: &str) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut failure = String::new();
        for _ in 0..STARTS_MAX {
            let port = free_port();
            std::fs::write(config_file(directory.path()), config(port, directory.path(), extra_config)).unwrap();
            let mut process = run(directory.path())?;
            match ready(&mut process, port).await {
                Ok(()) => return Ok(Self { process, port, directory }),
                Err(error) => failure = error,
            }
            if !failure.contains("address already in use") {
                break;
            }
        }
        Err(failure)
    }

    /// Where it is, without who comes.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Its port of loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where it keeps what it has, and where files for it can be put.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Kills it, as a crash does, and waits until it is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again where it was, with what it had.
    pub async fn restart(&mut self) -> Result<(), String> {
        self.process.kill();
        self.process = run(self.directory.path())?;
        ready(&mut self.process, self.port).await
    }
}

fn config_file(directory: &Path) -> PathBuf {
    directory.join("nats.conf")
}

fn name(port: u16) -> String {
    format!("wasmpost-{port}-{}", std::process::id())
}

fn config(port: u16, directory: &Path, extra: &str) -> String {
    let store = directory.join("store");
    let name = name(port);
    format!(
        "listen: \"127.0.0.1:{port}\"\nserver_name: \"{name}\"\n\
         jetstream {{ store_dir: {store:?}, sync_interval: always }}\n{extra}\n"
    )
}

/// The program, or what is missing.
pub(super) fn program() -> Result<PathBuf, String> {
    let built = brokers_directory().map(|brokers| brokers.join("bin/nats-server"));
    let program = find_program("WASMPOST_NATS_SERVER", built.as_slice(), "nats-server");
    program.ok_or_else(|| "nats-server is missing: run make setup-brokers".to_owned())
}

fn run(directory: &Path) -> Result<Process, String> {
    Process::start(Command::new(program()?).arg("--config").arg(config_file(directory)), directory, "server.log")
}

async fn ready(process: &mut Process, port: u16) -> Result<(), String> {
    // It speaks first.
    wait_until_ready(process, port, b"", &name(port), READY_MAX).await
}
