//! Copying the write-ahead log into the file, on a thread of its own, so that commits do not wait for it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;

use rusqlite::Connection;

/// How many commits may pass before the log is copied.
const COMMITS: u32 = 256;

/// Has the log copied now and then.
pub(crate) struct Checkpointer {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    commits: u32,
}

impl Checkpointer {
    pub(crate) fn start(path: &Path) -> io::Result<Self> {
        let (wake, wakes) = mpsc::sync_channel(1);
        let path = path.to_owned();
        let thread = std::thread::Builder::new().name("wasmpost-checkpoint".into());
        let thread = thread.spawn(move || run(path, wakes))?;
        Ok(Self { wake: Some(wake), thread: Some(thread), commits: 0 })
    }

    /// Counts a commit, and has the log copied after many.
    pub(crate) fn committed(&mut self) {
        self.commits += 1;
        if self.commits >= COMMITS {
            self.checkpoint();
        }
    }

    /// Has the log copied; if that is going on, it need not be asked for again.
    pub(crate) fn checkpoint(&mut self) {
        self.commits = 0;
        if let Some(wake) = &self.wake {
            let _ = wake.try_send(());
        }
    }

    /// Waits for the thread to end.
    pub(crate) fn end(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn run(path: PathBuf, wakes: Receiver<()>) {
    let connection = match Connection::open(&path) {
        Ok(connection) => connection,
        Err(error) => {
            tracing::error!(%error, "log of the queue file will only be copied when it is closed");
            return;
        }
    };
    while wakes.recv().is_ok() {
        let copied = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(error) = copied {
            tracing::warn!(%error, "log of the queue file could not be copied");
        }
    }
}
