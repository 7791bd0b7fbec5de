//! Reads beside the writer: each read has a connection of its own and sees the file as of one commit, so that
//! publishers do not wait for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;
use wasmpost_delivery::{BrokerError, BrokerErrorKind};

use crate::error::Failure;

/// The most reads at a time; others wait for them.
const READERS_MAX: usize = 2;
/// How long a read waits for a locked file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The thread of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// One for blocking work.
    OnThreads,
    /// That of the caller: for proofs.
    #[cfg_attr(not(feature = "prove"), expect(dead_code, reason = "only proofs read inline"))]
    Inline,
}

/// Reads committed state.
pub(crate) struct Reader {
    path: PathBuf,
    places: Arc<Semaphore>,
    reading: Reading,
}

impl Reader {
    pub(crate) fn new(path: PathBuf, reading: Reading) -> Self {
        Self { path, places: Arc::new(Semaphore::new(READERS_MAX)), reading }
    }

    /// Reads in one transaction.
    pub(crate) async fn read<T, F>(&self, what: F) -> Result<T, BrokerError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let path = self.path.clone();
        let reading = move || read(&path, what).map_err(|error| BrokerError::from(Failure::of(&path, &error)));
        if self.reading == Reading::Inline {
            return reading();
        }
        // The permit is kept as long as the read lasts, even if its caller is gone. The semaphore is never closed.
        let place = Arc::clone(&self.places).acquire_owned().await;
        let reading = move || {
            let read = reading();
            drop(place);
            read
        };
        let cut_off = |error| BrokerError::new(BrokerErrorKind::Closed, "read was cut off").caused_by(error);
        tokio::task::spawn_blocking(reading).await.map_err(cut_off)?
    }
}

fn read<T>(path: &Path, what: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch("BEGIN")?;
    what(&connection)
}
