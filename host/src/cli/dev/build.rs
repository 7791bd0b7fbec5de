//! The build of a component: a command of the shell in a process group of its own, which is ended when it is not waited
//! for any more.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// The environment variable that tells a build that it is for trying, so that it need not optimise much.
const DEV: &str = "WASMPOST_DEV";
/// How often it is looked whether the build has ended.
const LOOK: Duration = Duration::from_millis(10);
/// How long a build has to end after SIGTERM before it is killed.
const END_MAX: Duration = Duration::from_millis(500);

/// How a build ended.
pub(super) enum Built {
    /// With success.
    Done,
    /// With another exit status, or without one that could be read.
    Failed(String),
}

/// The processes of a build. Those that are left are ended when it is dropped.
struct Group(Child);

/// Runs the build. It writes to standard error as it is, and takes so long at most.
pub(super) async fn build(command: &str, directory: &Path, time_max: Duration) -> Built {
    let mut group = match start(command, directory) {
        Ok(group) => group,
        Err(error) => return Built::Failed(format!("could not be started: {error}")),
    };
    let deadline = Instant::now() + time_max;
    loop {
        match group.0.try_wait() {
            Ok(Some(status)) if status.success() => return Built::Done,
            Ok(Some(status)) => return Built::Failed(ending(status)),
            Ok(None) if Instant::now() >= deadline => {
                let time_max = humantime::format_duration(time_max);
                return Built::Failed(format!("took longer than {time_max} and was ended; see --build-timeout"));
            }
            Ok(None) => tokio::time::sleep(LOOK).await,
            Err(error) => return Built::Failed(format!("could not be waited for: {error}")),
        }
    }
}

fn start(command: &str, directory: &Path) -> io::Result<Group> {
    // Standard output is for results of this command.
    let output = io::stderr().as_fd().try_clone_to_owned()?;
    let mut shell = Command::new("sh");
    shell
        .args(["-c", command])
        .current_dir(directory)
        .env(DEV, "1")
        .stdin(Stdio::null())
        .stdout(output)
        .process_group(0);
    shell.spawn().map(Group)
}

fn ending(status: ExitStatus) -> String {
    status.code().map_or_else(|| format!("ended by {status}"), |code| format!("exit status {code}"))
}

impl Group {
    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        // A group that has ended needs no signal.
        let _ended = id.map(|id| kill_process_group(id, signal));
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let ended = |child: &mut Child| !matches!(child.try_wait(), Ok(None));
        if ended(&mut self.0) {
            return;
        }
        self.signal(Signal::TERM);
        let deadline = Instant::now() + END_MAX;
        while !ended(&mut self.0) && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
        self.signal(Signal::KILL);
        drop(self.0.wait());
    }
}
