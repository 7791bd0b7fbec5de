//! The command `wasmpost dev` at work, as a test sees it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use wasmpost_tests::{PATIENCE, Place, signal, target, wait_until};

/// The command at work, with the lines that it prints.
pub(crate) struct Session {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Session {
    /// Starts it in a directory.
    pub(crate) fn start(place: &Place, directory: &Path, arguments: &[&str]) -> Self {
        let mut command = place.command(&[&["dev"], arguments].concat());
        command.current_dir(directory).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in ["CARGO_TARGET_DIR", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUST_BACKTRACE"] {
            command.env_remove(name);
        }
        // Toolchains are in the cache of the user.
        match std::env::var_os("XDG_CACHE_HOME") {
            Some(cache) => command.env("XDG_CACHE_HOME", cache),
            None => command.env_remove("XDG_CACHE_HOME"),
        };
        // Components find what was compiled for others.
        command.env("CARGO_BUILD_BUILD_DIR", target().join("guests"));
        let mut child = command.spawn().unwrap();
        let (send, lines) = mpsc::channel();
        let output = child.stdout.take().unwrap();
        let errors = child.stderr.take().unwrap();
        let other = send.clone();
        std::thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).all(|l| send.send(l).is_ok()));
        std::thread::spawn(move || BufReader::new(errors).lines().map_while(Result::ok).all(|l| other.send(l).is_ok()));
        Self { child, lines }
    }

    /// Reads up to a line with this text, and gives all lines up to it.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str, patience: Duration) -> Vec<String> {
        let deadline = Instant::now() + patience;
        let mut all = Vec::new();
        loop {
            let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|_| panic!("{text:?} was never shown:\n{}", all.join("\n")));
            all.push(line);
            if all.last().unwrap().contains(text) {
                return all;
            }
        }
    }

    /// The same, with the patience of every test.
    #[track_caller]
    pub(crate) fn shows(&self, text: &str) -> Vec<String> {
        self.wait_for(text, PATIENCE)
    }

    /// Ends it by a signal, and gives the exit code with what was printed since.
    pub(crate) fn end(mut self) -> (Option<i32>, Vec<String>) {
        signal(&self.child, "INT");
        wait_until("it ends when it is told to", || self.child.try_wait().unwrap().is_some());
        (self.child.wait().unwrap().code(), self.lines.iter().collect())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A test that failed leaves no process behind: builds end with it.
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            signal(&self.child, "INT");
            let is_ended = || self.child.try_wait().is_ok_and(|ended| ended.is_some());
            wait_until("it ends", is_ended);
        }
    }
}
