//! Copying the write-ahead log into the file, on a thread of its own, so that commits do not wait for it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;

use rusqlite::Connection;

/// How many commits, or bytes in them, may pass before somebody looks how long the log is.
const COMMITS: u32 = 16;
const COMMITTED_BYTES: usize = 1 << 20;
/// How many pages of the log may be uncopied before they are copied.
const UNCOPIED_PAGES: i64 = 1024;
/// How many pages the log may have before the writer itself makes it start over. It does so when all of it was copied
/// and nobody is writing, which under constant load is never but here.
const LOG_PAGES_MAX: i64 = 16 * 1024;

/// Has the log copied now and then.
pub(crate) struct Checkpointer {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    commits: u32,
    bytes: usize,
}

impl Checkpointer {
    pub(crate) fn start(path: &Path) -> io::Result<Self> {
        let (wake, wakes) = mpsc::sync_channel(1);
        let path = path.to_owned();
        let thread = std::thread::Builder::new().name("wasmpost-checkpoint".into());
        let thread = thread.spawn(move || run(path, wakes))?;
        Ok(Self { wake: Some(wake), thread: Some(thread), commits: 0, bytes: 0 })
    }

    /// One that copies nothing.
    #[cfg(feature = "prove")]
    pub(crate) fn idle() -> Self {
        Self { wake: None, thread: None, commits: 0, bytes: 0 }
    }

    /// Counts a commit of about so many bytes on the writer's connection, and has the log copied when it is long.
    pub(crate) fn committed(&mut self, connection: &Connection, bytes: usize) {
        self.commits += 1;
        self.bytes += bytes;
        if self.commits < COMMITS && self.bytes < COMMITTED_BYTES {
            return;
        }
        (self.commits, self.bytes) = (0, 0);
        let pages = |mode| {
            let sql = format!("PRAGMA wal_checkpoint({mode})");
            let mut look = connection.prepare_cached(&sql)?;
            look.query_row([], |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))
        };
        match pages("NOOP") {
            Ok((log, _)) if log >= LOG_PAGES_MAX => {
                // The other thread has copied most of it. While it is at it, the next look tries again.
                if let Err(error) = pages("PASSIVE") {
                    tracing::warn!(%error, "log of the queue file could not be copied");
                }
            }
            Ok((log, copied)) if log - copied >= UNCOPIED_PAGES => self.checkpoint(),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "log of the queue file could not be looked at"),
        }
    }

    /// Has the log copied; if that is going on, it need not be asked for again.
    pub(crate) fn checkpoint(&self) {
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
