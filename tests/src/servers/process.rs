//! A process of a server. It ends with the tests, however they end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// How much of a server's log is told when it fails.
const LOG_BYTES_MAX: usize = 6000;

/// A process of a server.
pub(super) struct Process {
    child: Child,
    /// Reads from a pipe that ends with this process, and then kills the server and removes its directory. So no server
    /// is left over from a test run that was killed, or that keeps its server in a static.
    watchdog: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command in a directory. Its output goes to a log there.
    pub(super) fn start(command: &mut Command, directory: &Path, log: &str) -> Result<Self, String> {
        let log = directory.join(log);
        let failed = |error: std::io::Error| format!("{} cannot be started: {error}", command.get_program().display());
        let file = File::create(&log).map_err(failed)?;
        let copy = file.try_clone().map_err(failed)?;
        let child = command.current_dir(directory).stdin(Stdio::null()).stdout(file).stderr(copy).spawn();
        let child = child.map_err(|error| format!("{} cannot be started: {error}", command.get_program().display()))?;
        let script = "read -r _; kill -KILL \"$1\"; rm -rf -- \"$2\"";
        let mut watchdog = Command::new("sh");
        watchdog.args(["-c", script, "watchdog", &child.id().to_string()]).arg(directory);
        let watchdog = watchdog.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Ok(Self { child, watchdog: watchdog.unwrap(), log })
    }

    /// The id of the process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// The end of what it wrote.
    pub(super) fn log(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_BYTES_MAX)..]).into_owned()
    }

    /// Kills it and waits until it is gone.
    pub(super) fn kill(&mut self) {
        // First the watchdog, which must not see the id of this process in use by another one.
        drop(self.watchdog.kill());
        drop(self.watchdog.wait());
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
