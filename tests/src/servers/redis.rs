//! A Redis server, which syncs every write to its disk.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::{Process, STARTS_MAX, find_program, free_port, wait_until_ready};

/// How long the server may take until it answers.
const READY_MAX: Duration = Duration::from_secs(20);

/// A Redis server that runs.
pub struct RedisServer {
    process: Process,
    port: u16,
    _directory: TempDir,
}

impl RedisServer {
    /// Starts a server that lets everybody in. An error tells what is missing.
    pub async fn start() -> Result<Self, String> {
        let program = program()?;
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut failure = String::new();
        for _ in 0..STARTS_MAX {
            let port = free_port();
            let mut command = Command::new(&program);
            command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
            command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
            let mut process = Process::start(&mut command, directory.path(), "server.log")?;
            match wait_until_ready(&mut process, port, b"PING\r\n", "PONG", READY_MAX).await {
                Ok(()) => return Ok(Self { process, port, _directory: directory }),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Where it is: host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

/// The program, or what is missing.
fn program() -> Result<PathBuf, String> {
    let program = find_program("WASMPOST_REDIS_SERVER", &[], "redis-server");
    program.ok_or_else(|| "redis-server is missing: apt-get install redis-server".to_owned())
}
