//! Copies the write-ahead log into the file, on a thread of its own, so that commits do not wait for it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;

use rusqlite::Connection;

/// How many commits, or bytes in them, may pass before the length of the log is checked.
const COMMITS: u32 = 16;
const COMMITTED_BYTES: usize = 1 << 20;
/// The number of uncopied pages in the log from which they are copied.
const UNCOPIED_PAGES: i64 = 1024;
/// The number of pages in the log from which the writer itself makes it start over. Otherwise it starts over when all
/// of it is copied and nothing is written, which never happens under constant load.
const LOG_PAGES_MAX: i64 = 16 * 1024;
/// The most pages that the writer copies for that, because callers wait meanwhile, and the number of pages in the log
/// from which it copies any number.
const COPIED_BY_WRITER: i64 = 256;
const LOG_PAGES_FORCED: i64 = 24 * 1024;
/// The number of uncopied pages from which work that can wait is put off until they are copied.
const UNCOPIED_PAGES_MAX: i64 = 2 * UNCOPIED_PAGES;

/// Decides when the log is copied.
pub(crate) struct Checkpointer {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    commits: u32,
    bytes: usize,
    /// The pages of the log at the last check, and how many of them were uncopied.
    log: i64,
    uncopied: i64,
}

impl Checkpointer {
    pub(crate) fn start(path: &Path) -> io::Result<Self> {
        let (wake, wakes) = mpsc::sync_channel(1);
        let path = path.to_owned();
        let thread = std::thread::Builder::new().name("wasmpost-checkpoint".into());
        let thread = thread.spawn(move || run(path, wakes))?;
        Ok(Self { wake: Some(wake), thread: Some(thread), commits: 0, bytes: 0, log: 0, uncopied: 0 })
    }

    /// A checkpointer that copies nothing.
    #[cfg(feature = "prove")]
    pub(crate) fn idle() -> Self {
        Self { wake: None, thread: None, commits: 0, bytes: 0, log: 0, uncopied: 0 }
    }

    /// Counts a commit of about `bytes` bytes on the writer's connection, and starts copying when the log is long.
    pub(crate) fn committed(&mut self, connection: &Connection, bytes: usize) {
        self.commits += 1;
        self.bytes += bytes;
        if self.commits < COMMITS && self.bytes < COMMITTED_BYTES {
            return;
        }
        self.look(connection);
    }

    /// Checks the length of the log, and starts copying when it is long.
    pub(crate) fn look(&mut self, connection: &Connection) {
        (self.commits, self.bytes) = (0, 0);
        let pages = |mode| {
            let sql = format!("PRAGMA wal_checkpoint({mode})");
            let mut look = connection.prepare_cached(&sql)?;
            look.query_row([], |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))
        };
        let mut looked = pages("NOOP");
        if let Ok((log, copied)) = looked
            && log >= LOG_PAGES_MAX
            && (log - copied <= COPIED_BY_WRITER || log >= LOG_PAGES_FORCED)
        {
            // While the other thread copies, the next check tries again.
            looked = pages("PASSIVE");
        }
        match looked {
            Ok((log, copied)) => (self.log, self.uncopied) = (log, log - copied),
            Err(error) => return tracing::warn!(error = %error, "length of the queue file's log could not be read"),
        }
        if self.uncopied >= UNCOPIED_PAGES || self.uncopied > 0 && self.log >= LOG_PAGES_MAX {
            self.checkpoint();
        }
    }

    /// Whether the log is copied about as fast as it grows. Work that can wait is put off until then.
    pub(crate) fn keeps_up(&self) -> bool {
        // A log that was copied completely starts over with the next commit.
        let is_short = self.log < LOG_PAGES_MAX || self.uncopied == 0;
        self.thread.is_none() || self.uncopied < UNCOPIED_PAGES_MAX && is_short
    }

    /// Wakes the thread that copies the log; if it is copying, it need not be woken again.
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
    let connection = match open(&path) {
        Ok(connection) => connection,
        Err(error) => {
            tracing::error!(error = %error, "log of the queue file is copied only when it is long, or at the end");
            return;
        }
    };
    while wakes.recv().is_ok() {
        let copied = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(error) = copied {
            tracing::warn!(error = %error, "log of the queue file could not be copied");
        }
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    // If a file cannot be opened for writing, SQLite opens it for reading without an error.
    if connection.is_readonly("main")? {
        let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY);
        return Err(rusqlite::Error::SqliteFailure(error, Some("the file could not be opened for writing".into())));
    }
    Ok(connection)
}
