//! Shared by the end-to-end tests: the program, the guests, a directory to run in, and servers of brokers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)] // A fault fails the test.

pub mod certificates;
pub mod ledger;
pub mod proxy;
pub mod servers;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use serde_json::Value;

pub mod prove;

/// How long anything may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two checks of a condition.
const LOOK: Duration = Duration::from_millis(10);

/// How many lines of a host's log a failed test prints.
const LOG_LINES_MAX: usize = 50;

/// The directory of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A file of 255 webhooks: named by the environment, or in `shared/data` beside the checkout.
pub fn real_webhooks() -> Option<PathBuf> {
    let given = std::env::var_os("WASMPOST_WEBHOOKS").map(PathBuf::from);
    let root = root();
    let beside = root.ancestors().map(|directory| directory.join("shared/data/github-webhooks.ndjson"));
    given.into_iter().chain(beside).find(|file| file.exists())
}

/// Where this build puts its output: tests lie in `debug/deps` of it.
pub fn target() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned()
}

/// The program, as it is now.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(program) = std::env::var_os("WASMPOST_PROGRAM") {
            return program.into();
        }
        build(&["--bin", "wasmpost"]);
        target().join("debug/wasmpost")
    })
}

/// Where the programs of `host/examples` are, as they are now.
pub fn examples() -> &'static Path {
    static EXAMPLES: OnceLock<PathBuf> = OnceLock::new();
    EXAMPLES.get_or_init(|| {
        build(&["--examples"]);
        target().join("debug/examples")
    })
}

/// Makes cargo build a target of the host.
fn build(wanted: &[&str]) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // A test beside it makes cargo choose the features of dependencies as it did for the tests, so that it finds them
    // built. All features are every broker, and the points and breaks of proofs.
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--workspace", "--all-features", "--test", "tidy"]);
    build.args(wanted).current_dir(root());
    // Cargo tells a test about its package in variables, which the build script of ring would take for a change: ring
    // and all that depends on it would be built again, here and in the next build.
    let is_of_package =
        |name: &str| name == "OUT_DIR" || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    let told = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    for name in told.filter(|name| is_of_package(name)) {
        build.env_remove(name);
    }
    assert!(build.status().unwrap().success(), "{wanted:?} can be built");
}

/// The file of a guest.
pub fn guest(name: &str) -> PathBuf {
    let path = guest_path(name);
    assert!(path.exists(), "{} is missing: run make guests", path.display());
    path
}

/// The file of a guest that may be missing, because the toolchain of its language is.
pub fn find_guest(name: &str) -> Option<PathBuf> {
    Some(guest_path(name)).filter(|path| path.exists())
}

fn guest_path(name: &str) -> PathBuf {
    let given = std::env::var_os("WASMPOST_GUESTS").map(PathBuf::from);
    given.unwrap_or_else(|| target().join("guests/out")).join(format!("{name}.wasm"))
}

/// A temporary directory in which commands run.
pub struct Place {
    directory: tempfile::TempDir,
}

impl Default for Place {
    fn default() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }
}

impl Place {
    /// A directory within another one.
    pub fn within(directory: &Path) -> Self {
        Self { directory: tempfile::tempdir_in(directory).unwrap() }
    }

    /// Keeps the directory, to look for a fault in it, and returns its path.
    pub fn keep(&mut self) -> PathBuf {
        self.directory.disable_cleanup(true);
        self.path().to_owned()
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file and tells where it is.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The program with arguments, to be run here. Compiled guests are shared with other tests.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(program(), arguments)
    }

    /// The same with another program.
    pub fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.path()).env_remove("WASMPOST_LOG").env("RUST_BACKTRACE", "1");
        command.env("XDG_CACHE_HOME", target().join("tests-cache"));
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    /// The same with standard input.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = assert_cmd::Command::from_std(self.command(arguments));
        Ran(command.write_stdin(input).timeout(PATIENCE).output().unwrap())
    }

    /// Starts a host and waits until it receives.
    pub fn start(&self, arguments: &[&str]) -> Host {
        self.start_until(arguments, "receiving").0
    }

    /// Starts a host and waits until it logs a message, of which it gives the line.
    pub fn start_until(&self, arguments: &[&str], message: &str) -> (Host, Value) {
        let mut command = self.command(arguments);
        command.args(["--log-format", "json"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (send, lines) = mpsc::channel();
        // Read as it comes: a host whose log nobody reads stands still when the pipe is full.
        std::thread::spawn(move || log.lines().map_while(Result::ok).all(|line| send.send(line).is_ok()));
        let mut host = Host { child, log: lines };
        let line = host.wait_for(message);
        (host, line)
    }
}

/// A command that has ended.
pub struct Ran(pub Output);

impl Ran {
    /// Standard output.
    pub fn stdout(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    /// Standard error.
    pub fn stderr(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        let stdout = self.stdout();
        let stderr = self.stderr();
        assert_eq!(self.0.status.code(), Some(code), "stdout: {stdout}\nstderr: {stderr}");
        self
    }

    /// Asserts that the command ended with an error in one line that contains all words, without a backtrace.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) -> Self {
        let ran = self.exits(code);
        let stderr = ran.stderr();
        let error =
            stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("no error in {stderr}"));
        for word in words {
            assert!(error.contains(word), "{word:?} in {error}");
        }
        assert!(!stderr.contains("panicked") && !stderr.contains("stack backtrace"), "{stderr}");
        ran
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.0.stdout).unwrap_or_else(|error| panic!("{error} in {}", self.stdout()))
    }
}

/// A host that runs.
pub struct Host {
    /// The process.
    pub child: Child,
    log: mpsc::Receiver<String>,
}

impl Host {
    /// Reads the log until a line with this message, and gives the line.
    #[track_caller]
    pub fn wait_for(&mut self, message: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut all = String::new();
        loop {
            let line = self.log.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|_| panic!("host never logged {message:?}: {all}"));
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["message"].as_str().is_some_and(|text| text.contains(message)) {
                return event;
            }
            all.push_str(&line);
            all.push('\n');
        }
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Waits for the end and gives the exit code, and what was logged since.
    pub fn end(mut self) -> (Option<i32>, String) {
        let rest: Vec<_> = self.log.iter().collect();
        (self.child.wait().unwrap().code(), rest.join("\n"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // A test that failed leaves no process behind; one that ended well has none any more.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let rest: Vec<_> = self.log.iter().collect();
            let last = rest.len().saturating_sub(LOG_LINES_MAX);
            eprintln!("the host logged last:\n{}", rest[last..].join("\n"));
        }
    }
}

/// Sends a signal by name to a process.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

/// Waits until a condition holds, which is checked again and again.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "it never came about that {what}");
        std::thread::sleep(LOOK);
    }
}

/// Waits until a message of a queue is in flight.
#[track_caller]
pub fn wait_until_leased(place: &Place, queue: &str) {
    wait_until("a message is leased", || stats(place, queue)["leased"] == 1);
}

/// Waits until a queue has acked so many messages.
#[track_caller]
pub fn wait_until_acked(place: &Place, queue: &str, count: u64) {
    wait_until(&format!("{count} messages of {queue} are acked"), || stats(place, queue)["acked"] == count);
}

/// Waits until a receiver has a message, which the flight file tells: from then on the end of the process counts.
#[track_caller]
pub fn wait_until_in_flight(place: &Place, queue: &str) {
    // By then the flight file is that of the host.
    wait_until_leased(place, queue);
    let began = Instant::now();
    let file = place.path().join("wasmpost.db-flight");
    let is_noted = || {
        let bytes = std::fs::read(&file).unwrap_or_default();
        let run = bytes.get(16..24);
        bytes.chunks(64).skip(1).any(|place| run.is_some() && place.get(..8) == run)
    };
    while !is_noted() {
        assert!(began.elapsed() < PATIENCE, "no receiver of {queue} got a message");
    }
}

/// The statistics of a queue, from the command `queues`.
pub fn stats(place: &Place, queue: &str) -> Value {
    let all = place.run(&["queues", "--json"]).exits(0).json();
    let found = all.as_array().unwrap().iter().find(|stats| stats["queue"] == queue);
    found.cloned().unwrap_or(Value::Null)
}
