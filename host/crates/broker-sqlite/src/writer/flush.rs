//! Decides which commits wait for the disk: those that are answered, and one a moment after those that did not wait.

use std::time::Duration;

use rusqlite::Connection;
use tokio::time::Instant;

use crate::channel::Flush;

/// The levels of `PRAGMA synchronous` at which a commit waits for the disk, and at which only copying the log does.
const FULL: i64 = 2;
const NORMAL: i64 = 1;
/// How long to wait before a failed flush is tried again.
const AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Flushes {
    /// Whether commits wait unless told otherwise: a file can be opened so that none does.
    is_full: bool,
    /// The setting of the connection.
    current: Flush,
    /// The time by which a commit must wait, because an earlier one did not.
    due: Option<Instant>,
    after: Duration,
}

impl Flushes {
    /// Commits that do not wait are flushed after this time.
    pub(super) fn new(connection: &Connection, after: Duration) -> Self {
        let level = connection.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0));
        Self { is_full: level.is_ok_and(|level| level >= FULL), current: Flush::Now, due: None, after }
    }

    /// How long until a commit has to wait for earlier ones; `None` if the disk has them all.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.due.map(|due| due.saturating_duration_since(Instant::now()))
    }

    /// Whether there are commits that the disk may not have yet.
    pub(super) fn is_behind(&self) -> bool {
        self.due.is_some()
    }

    /// Sets the connection up for a commit, and returns whether that one waits. Called between transactions.
    pub(super) fn begin(&mut self, connection: &Connection, wanted: Flush) -> rusqlite::Result<Flush> {
        if !self.is_full {
            return Ok(Flush::Now);
        }
        let is_due = self.wait().is_some_and(|wait| wait.is_zero());
        let flush = if is_due { Flush::Now } else { wanted };
        if flush != self.current {
            let level = if flush == Flush::Now { FULL } else { NORMAL };
            connection.pragma_update(None, "synchronous", level)?;
            self.current = flush;
        }
        Ok(flush)
    }

    /// Notes a commit.
    pub(super) fn committed(&mut self, flush: Flush) {
        match flush {
            Flush::Now => self.due = None,
            Flush::Soon => drop(self.due.get_or_insert_with(|| Instant::now() + self.after)),
        }
    }

    /// Notes that a commit failed which was to wait.
    pub(super) fn failed(&mut self) {
        if let Some(due) = &mut self.due {
            *due = (*due).max(Instant::now() + AGAIN);
        }
    }
}
