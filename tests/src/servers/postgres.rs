//! A Postgres server with its defaults, which syncs at every commit.

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::{Process, STARTS_MAX, find_program, free_port, wait_until_ready};

/// How long the server may take until it answers.
const READY_MAX: Duration = Duration::from_secs(30);
/// The user that it runs as where the tests run as root, which it refuses.
const NOBODY: u32 = 65534;
/// A client's question whether the server speaks TLS: the length, and the code of that question.
const ASKS_FOR_TLS: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];

/// A Postgres server that runs.
pub struct PostgresServer {
    process: Process,
    port: u16,
    _directory: TempDir,
}

impl PostgresServer {
    /// Starts a server that lets everybody in as `bench`. An error tells what is missing.
    pub async fn start() -> Result<Self, String> {
        let programs = programs()?;
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let data = directory.path().join("data");
        std::fs::create_dir(&data).map_err(|error| error.to_string())?;
        let is_root = directory.path().metadata().is_ok_and(|metadata| metadata.uid() == 0);
        if is_root {
            for path in [directory.path(), &data] {
                chown(path, Some(NOBODY), Some(NOBODY)).map_err(|error| error.to_string())?;
            }
        }
        let mut make = command(&programs, "initdb", is_root);
        make.args(["--auth=trust", "--username=bench", "--encoding=UTF8", "--pgdata"]).arg(&data);
        let made = make.current_dir(directory.path()).output().map_err(|error| error.to_string())?;
        if !made.status.success() {
            return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr)));
        }
        let mut failure = String::new();
        for _ in 0..STARTS_MAX {
            let port = free_port();
            let mut run = command(&programs, "postgres", is_root);
            run.arg("-D").arg(&data).args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k"]).arg(directory.path());
            let mut process = Process::start(&mut run, directory.path(), "server.log")?;
            match wait_until_ready(&mut process, port, ASKS_FOR_TLS, "N", READY_MAX).await {
                Ok(()) => return Ok(Self { process, port, _directory: directory }),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("postgres://bench@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

fn command(programs: &Path, name: &str, is_root: bool) -> Command {
    let mut command = Command::new(programs.join(name));
    if is_root {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// The directory of the programs, or what is missing. Debian has them beside PATH, by version.
fn programs() -> Result<PathBuf, String> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut places: Vec<_> = versions.map(|version| version.path().join("bin/postgres")).collect();
    places.sort();
    places.reverse();
    let program = find_program("WASMPOST_POSTGRES", &places, "postgres");
    let directory = program.and_then(|program| program.parent().map(Path::to_owned));
    directory.ok_or_else(|| "postgres is missing: apt-get install postgresql".to_owned())
}
