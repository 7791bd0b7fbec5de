//! A host to be proved: a process that may end at any time, and its log in a file.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use wasmpost::control::RemoteBroker;
use wasmpost_tests::prove::log::events;
use wasmpost_tests::prove::seen::Life;
use wasmpost_tests::{PATIENCE, Place, guest};

use super::file::snapshot;

/// How many messages the receiver has at a time.
pub const CONCURRENCY: usize = 8;

/// A host that was started.
pub struct Proved {
    /// The process.
    pub child: Child,
    database: PathBuf,
    log: PathBuf,
}

/// A directory with a configuration: the guest `obeying` on the queue `work`, which publishes to `out`.
pub fn place() -> Place {
    set_up(Place::default(), "")
}

/// The same, with messages taken by HTTP.
pub fn place_with_http() -> Place {
    let names = super::posting::HEADERS;
    let id = super::posting::ID;
    let key = super::posting::KEY;
    let ingress = format!(
        "[[ingress]]\nlisten = \"127.0.0.1:0\"\npath = \"/work\"\ntopic = \"work\"\nsignature = \"none\"\n\
         headers = {names:?}\nid_header = {id:?}\nkey_header = {key:?}\n"
    );
    set_up(Place::default(), &ingress)
}

/// The same in a directory within another one, with leases that lapse soon where something could not be settled.
pub fn place_in(directory: &Path) -> Place {
    set_up(Place::within(directory), "lease = \"4s\"\n")
}

fn set_up(place: Place, more: &str) -> Place {
    let component = guest("obeying");
    let config = format!(
        "[[receivers]]\nqueue = \"work\"\ncomponent = {component:?}\npublish = [\"out\"]\nconcurrency = {CONCURRENCY}\n\
         retry = {{ attempts = 6, backoff_first = \"20ms\", backoff_max = \"200ms\" }}\n{more}"
    );
    place.write("wasmpost.toml", config);
    place
}

/// The queue file in a directory.
pub fn database(place: &Place) -> PathBuf {
    place.path().join("wasmpost.db")
}

/// The command that runs a host of `program` in a directory.
pub fn command(place: &Place, program: &Path, arguments: &[&str]) -> Command {
    command_logging(place, program, "info,wasmpost_delivery=debug", arguments)
}

/// The same with less or more in its log.
pub fn command_logging(place: &Place, program: &Path, log: &str, arguments: &[&str]) -> Command {
    let mut command = place.command_of(program, &["run", "--log", log, "--log-format", "json"]);
    command.args(arguments);
    command
}

impl Proved {
    /// Starts what `command` says; `name` is that of the log.
    pub fn start(place: &Place, mut command: Command, name: &str) -> Self {
        let log = place.path().join(format!("{name}.log"));
        let database = database(place);
        let stderr = File::create(&log).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        Self { child, database, log }
    }

    /// The log so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// Connects as soon as the host listens; none if it ended before.
    pub async fn connect(&mut self) -> Option<RemoteBroker> {
        let began = Instant::now();
        loop {
            if let Ok(broker) = RemoteBroker::connect(&self.database).await {
                return Some(broker);
            }
            if self.child.try_wait().unwrap().is_some() {
                return None;
            }
            assert!(began.elapsed() < PATIENCE, "host does not listen: {}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the host takes messages by HTTP, and tells where; none if it ended before.
    pub async fn http(&mut self) -> Option<SocketAddr> {
        let began = Instant::now();
        loop {
            let log = self.log();
            let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let told = events.into_iter().find(|event| event["message"] == "listening for requests");
            if let Some(event) = told {
                return Some(event["address"].as_str()?.parse().unwrap());
            }
            if self.child.try_wait().unwrap().is_some() {
                return None;
            }
            assert!(began.elapsed() < PATIENCE, "host takes nothing by HTTP: {log}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits for the end as long as that may take; none if it goes on.
    pub fn end_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            if began.elapsed() > patience {
                return None;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for the end as long as it tells something at least so often; none if it goes on and is quiet, or went on for
    /// too long. On a busy machine it has its time.
    pub fn end_unless_quiet(&mut self, quiet: Duration, most: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        let mut told = 0;
        while began.elapsed() < most {
            if let Some(status) = self.end_within(quiet) {
                return Some(status);
            }
            let now = std::fs::metadata(&self.log).unwrap().len();
            if std::mem::replace(&mut told, now) == now {
                break;
            }
        }
        None
    }

    /// Ends it as a power cut would, unless it has ended.
    pub fn kill(&mut self) -> ExitStatus {
        drop(self.child.kill());
        self.child.wait().unwrap()
    }

    /// The log and the file of a host that has ended.
    pub fn life(&self) -> Life {
        Life { events: events(&self.log()), after: snapshot(&self.database) }
    }
}

impl Drop for Proved {
    fn drop(&mut self) {
        // A proof that failed leaves no process behind.
        self.kill();
    }
}
