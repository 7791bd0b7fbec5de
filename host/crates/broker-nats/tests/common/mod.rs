//! A real NATS server for a test: on a free port, in a directory of its own, ended with the test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, dead_code)] // A fault fails the test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the server may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server with JetStream that syncs every write.
pub struct NatsServer {
    program: PathBuf,
    directory: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

/// The program, where there is one.
pub fn program() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("WASMPOST_NATS_SERVER") {
        return Some(given.into());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache")))?;
    let installed = cache.join("wasmpost/brokers/bin/nats-server");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join("nats-server"));
    std::iter::once(installed).chain(found).find(|program| program.is_file())
}

impl NatsServer {
    /// Starts a server; `more` is added to its configuration.
    pub async fn start(more: &str) -> Self {
        let program = program().expect("a NATS server is installed");
        let directory = tempfile::tempdir().unwrap();
        let config = format!(
            "listen: \"127.0.0.1:-1\"\nports_file_dir: {0:?}\njetstream {{ store_dir: {0:?}, sync_interval: always }}\n{more}\n",
            directory.path()
        );
        std::fs::write(directory.path().join("nats.conf"), config).unwrap();
        let mut server = Self { program, directory, port: 0, child: None };
        server.run(None).await;
        server
    }

    async fn run(&mut self, port: Option<u16>) {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.directory.path().join("nats.conf"));
        if let Some(port) = port {
            command.args(["--port", &port.to_string()]);
        }
        let log = std::fs::File::create(self.directory.path().join("log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let ports = self.directory.path().join(format!("nats-server_{}.ports", child.id()));
        self.child = Some(child);
        let until = Instant::now() + PATIENCE;
        let told = loop {
            if let Some(told) = std::fs::read(&ports).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
                let told: serde_json::Value = told;
                break told;
            }
            let log = || std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "server did not start: {}", log());
            assert!(self.child.as_mut().unwrap().try_wait().unwrap().is_none(), "server ended: {}", log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let url = told["nats"][0].as_str().unwrap();
        self.port = url.rsplit(':').next().unwrap().parse().unwrap();
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Ends it as a crash does, and starts it again on the same port with the same store.
    pub async fn restart(&mut self) {
        self.kill();
        self.run(Some(self.port)).await;
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}
