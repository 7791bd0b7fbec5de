//! A RabbitMQ server, with the daemon that Erlang's nodes find each other by.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{PAUSE, Process, STARTS_MAX, find_program, free_port, greeting, wait_until_ready};

/// How long the server may take until it answers.
const READY_MAX: Duration = Duration::from_secs(120);
/// The same for the daemon.
const DAEMON_READY_MAX: Duration = Duration::from_secs(10);
/// Where Debian's package has the server itself. The one in PATH would start it where the system's data are.
const DEBIAN: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// The first bytes that a client of AMQP 0.9.1 sends.
const HELLO: &[u8] = b"AMQP\0\0\x09\x01";

/// A RabbitMQ server that runs.
pub struct RabbitServer {
    // Ended in this order.
    process: Process,
    _daemon: Process,
    ports: Ports,
    directory: TempDir,
}

/// Where it listens, all on loopback.
#[derive(Clone, Copy)]
struct Ports {
    /// Clients.
    client: u16,
    /// Other nodes.
    node: u16,
    /// The daemon.
    daemon: u16,
}

impl RabbitServer {
    /// Starts a server. An error tells what is missing.
    pub async fn start() -> Result<Self, String> {
        Self::start_with("").await
    }

    /// The same with more configuration.
    pub async fn start_with(extra_config: &str) -> Result<Self, String> {
        let program = program()?;
        let directory = prepare()?;
        let mut failure = String::new();
        for _ in 0..STARTS_MAX {
            let ports = Ports { client: free_port(), node: free_port(), daemon: free_port() };
            write(directory.path(), "rabbitmq.conf", &config(ports, extra_config))?;
            let daemon = start_daemon(ports, directory.path()).await?;
            let mut process = run(&program, ports, directory.path())?;
            match ready(&mut process, ports).await {
                Ok(()) => return Ok(Self { process, _daemon: daemon, ports, directory }),
                Err(error) => failure = error,
            }
            if !failure.contains("eaddrinuse") {
                break;
            }
        }
        Err(failure)
    }

    /// Where it is, with the user that every new server has.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.ports.client)
    }

    /// Its port of loopback.
    pub fn port(&self) -> u16 {
        self.ports.client
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where it keeps what it has, and where files for it can be put.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Waits until a queue is on its disk. It answers that one was made, and writes that down about a second later: after
    /// a crash in between, the queue is gone with all confirmed messages in it, or has no leader for ever.
    pub async fn keeps(&self, queue: &str) {
        let began = Instant::now();
        while !self.has_written(queue) {
            assert!(began.elapsed() < READY_MAX, "RabbitMQ never writes down that there is {queue:?}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether a queue is among the declarations, in their log or in the table of queues, and among the logs of queues.
    fn has_written(&self, queue: &str) -> bool {
        let node = format!("{}@localhost", name(self.ports));
        let data = self.directory.path().join("data").join(&node);
        let has = |file: &str| {
            let written = std::fs::read(data.join(file)).unwrap_or_default();
            written.windows(queue.len()).any(|part| part == queue.as_bytes())
        };
        let declared = ["LATEST.LOG", "PREVIOUS.LOG", "rabbit_durable_queue.DCL", "rabbit_durable_queue.DCD"];
        declared.iter().any(|file| has(file)) && has(&format!("quorum/{node}/names.dets"))
    }

    /// Has it write down at once what it would write a few seconds later, such as which queues there are, so that it finds
    /// all of it again after a crash.
    pub async fn writes_down(&self) -> Result<(), String> {
        let mut command = command(&program()?.with_file_name("rabbitmqctl"), self.ports, self.directory.path());
        let node = format!("{}@localhost", name(self.ports));
        command.env("RABBITMQ_CONF_ENV_FILE", self.directory.path().join("none.conf"));
        command.args(["-n", &node, "--quiet", "eval", "[dets:sync(Table) || Table <- dets:all()], mnesia:sync_log()."]);
        let output = tokio::task::spawn_blocking(move || command.output()).await.map_err(|error| error.to_string())?;
        let output = output.map_err(|error| error.to_string())?;
        let told = String::from_utf8_lossy(&output.stdout);
        if told.trim() == "ok" {
            return Ok(());
        }
        Err(format!("rabbitmqctl: {told} {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Kills it, as a crash does, and waits until it is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again where it was, with what it had.
    pub async fn restart(&mut self) -> Result<(), String> {
        self.process.kill();
        self.process = run(&program()?, self.ports, self.directory.path())?;
        ready(&mut self.process, self.ports).await
    }
}

/// The program, or what is missing.
pub(super) fn program() -> Result<PathBuf, String> {
    let program = find_program("WASMPOST_RABBITMQ_SERVER", &[DEBIAN.into()], "rabbitmq-server");
    program.ok_or_else(|| "rabbitmq-server is missing: run make setup-brokers".to_owned())
}

/// A directory that belongs to who the server runs as, with the secret of its node.
fn prepare() -> Result<TempDir, String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    if let Some((user, group)) = own_user() {
        chown(directory.path(), Some(user), Some(group)).map_err(|error| error.to_string())?;
    }
    let cookie = format!("wasmpost{}", std::process::id());
    write(directory.path(), ".erlang.cookie", &cookie)?;
    write(directory.path(), "enabled_plugins", "[].\n")?;
    Ok(directory)
}

fn write(directory: &Path, name: &str, content: &str) -> Result<(), String> {
    let path = directory.join(name);
    std::fs::write(&path, content).map_err(|error| error.to_string())?;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).map_err(|error| error.to_string())?;
    let Some((user, group)) = own_user() else { return Ok(()) };
    chown(&path, Some(user), Some(group)).map_err(|error| error.to_string())
}

/// The user that the package has for its server, and its group, where this is root. A server does not run as root.
fn own_user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let told = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8(told.stdout).ok()?.trim().parse().ok()
    };
    (id(&["-u"])? == 0_u32).then(|| Some((id(&["-u", "rabbitmq"])?, id(&["-g", "rabbitmq"])?))).flatten()
}

/// A command that runs as that user, with the process's own id, and with nothing of the system's configuration.
fn command(program: &Path, ports: Ports, directory: &Path) -> Command {
    let mut command = match own_user() {
        None => Command::new(program),
        Some((user, group)) => {
            let mut command = Command::new("setpriv");
            command.args([format!("--reuid={user}"), format!("--regid={group}")]);
            command.args(["--clear-groups", "--inh-caps=-all", "--"]).arg(program);
            command
        }
    };
    command.env("HOME", directory).env("ERL_EPMD_PORT", ports.daemon.to_string()).env("ERL_EPMD_ADDRESS", "127.0.0.1");
    command
}

/// Starts the daemon in front of the server, which would else start one that outlives it.
async fn start_daemon(ports: Ports, directory: &Path) -> Result<Process, String> {
    let program = find_program("WASMPOST_EPMD", &[], "epmd");
    let program = program.ok_or("epmd of Erlang is missing: run make setup-brokers")?;
    let mut process = Process::start(&mut command(&program, ports, directory), directory, "daemon.log")?;
    let began = Instant::now();
    // Asks for the names of all nodes: its own port comes first.
    while greeting(ports.daemon, &[0, 1, b'n']).await.is_none() {
        if process.ended().is_some() || began.elapsed() > DAEMON_READY_MAX {
            return Err(format!("epmd does not answer: {}", process.log()));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(process)
}

fn name(ports: Ports) -> String {
    format!("wasmpost-{}-{}", ports.client, std::process::id())
}

fn config(ports: Ports, extra: &str) -> String {
    let port = ports.client;
    format!(
        "listeners.tcp.1 = 127.0.0.1:{port}\nlog.file = false\nlog.console = true\nlog.console.level = error\n{extra}\n"
    )
}

fn run(program: &Path, ports: Ports, directory: &Path) -> Result<Process, String> {
    let mut command = command(program, ports, directory);
    command.env("RABBITMQ_NODENAME", format!("{}@localhost", name(ports)));
    command.env("RABBITMQ_DIST_PORT", ports.node.to_string());
    command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}");
    // The script becomes the server, instead of waiting for it.
    command.env("RUNNING_UNDER_SYSTEMD", "true");
    let files = [
        ("RABBITMQ_CONF_ENV_FILE", "none.conf"),
        ("RABBITMQ_CONFIG_FILE", "rabbitmq.conf"),
        ("RABBITMQ_ADVANCED_CONFIG_FILE", "none.config"),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", "enabled_plugins"),
        ("RABBITMQ_FEATURE_FLAGS_FILE", "feature_flags"),
        ("RABBITMQ_MNESIA_BASE", "data"),
        ("RABBITMQ_LOG_BASE", "log"),
        ("RABBITMQ_PID_FILE", "server.pid"),
        ("RABBITMQ_PLUGINS_EXPAND_DIR", "plugins"),
        ("RABBITMQ_GENERATED_CONFIG_DIR", "config"),
    ];
    for (variable, file) in files {
        command.env(variable, directory.join(file));
    }
    Process::start(&mut command, directory, "server.log")
}

async fn ready(process: &mut Process, ports: Ports) -> Result<(), String> {
    // Its greeting has the name of its cluster, which begins as that of its only node.
    wait_until_ready(process, ports.client, HELLO, &name(ports), READY_MAX).await
}
