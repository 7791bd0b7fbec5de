//! Reads a queue file without writing to it: where writing is not allowed, or nothing is to be changed.
//!
//! While a host has the file, SQLite reads beside it. Otherwise the lock is taken shared, so that no process begins to
//! write meanwhile. A log that is not copied into the file yet is read as well, if need be in a copy of both.

use std::collections::HashMap;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};
use wasmpost_delivery::{
    Broker, BrokerError, BrokerErrorKind, Capabilities, Clock, DeadLetter, DeadLetterFilter, DeadLetters, Listed,
    Paged, Queue, QueueSpec, QueueStats, Receipt,
};
use wasmpost_msg::Publication;

use crate::error::Failure;
use crate::held::{self, Seen, with_suffix};
use crate::store::letters::{self, Asked, Letter};
use crate::store::read;
use crate::{migrate, open};

/// The most bytes that are copied to be read.
const COPIED_BYTES_MAX: u64 = 1 << 30;

/// A queue file that is open to be read.
pub(crate) struct Looked {
    pub(crate) connection: Arc<Mutex<Connection>>,
    path: PathBuf,
    /// Dropped after the connection.
    _copy: Option<Copied>,
    _file: File,
}

/// A directory with a copy, removed when this is dropped.
struct Copied(PathBuf);

impl Drop for Copied {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

impl Looked {
    pub(crate) async fn open(path: &Path) -> Result<Self, BrokerError> {
        let path = path.to_owned();
        let opening = tokio::task::spawn_blocking(move || Self::of(held::seen(&path)?));
        opening.await.map_err(cut_off)?
    }

    pub(crate) fn of(Seen { path, file, is_quiet }: Seen) -> Result<Self, BrokerError> {
        let log_bytes = with_suffix(&path, "-wal").metadata().map_or(0, |metadata| metadata.len());
        let plain = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = match (is_quiet, log_bytes) {
            // Nothing is written meanwhile, and the log is empty.
            (true, 0) => Connection::open_with_flags(immutable(&path), plain | OpenFlags::SQLITE_OPEN_URI),
            _ => Connection::open_with_flags(&path, plain),
        };
        let opened = opened.and_then(|connection| {
            connection.busy_timeout(open::BUSY_TIMEOUT)?;
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
            Ok(connection)
        });
        let (connection, copy) = match opened {
            Ok(connection) if open::version(&path, &connection)? == migrate::VERSION => (connection, None),
            Err(error) if !is_quiet => return Err(Failure::of(&path, &error).into()),
            // The schema is older, or the log cannot be read in place.
            _ => copied(&path)?,
        };
        Ok(Self { connection: Arc::new(Mutex::new(connection)), path, _copy: copy, _file: file })
    }

    async fn read<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, BrokerError> {
        let connection = Arc::clone(&self.connection);
        let reading = tokio::task::spawn_blocking(move || what(&connection.lock()));
        reading.await.map_err(cut_off)?.map_err(|error| Failure::of(&self.path, &error).into())
    }

    async fn page<T: Paged + Send + 'static>(
        &self,
        filter: &DeadLetterFilter,
        skip: usize,
        max: usize,
        read: fn(&Connection, &Letter) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, BrokerError> {
        let asked = Asked { filter: filter.clone(), skip, after: None, max };
        self.read(move |connection| letters::page(connection, &asked, read).map(|(letters, _)| letters)).await
    }
}

fn cut_off(error: tokio::task::JoinError) -> BrokerError {
    BrokerError::new(BrokerErrorKind::Closed, "read of the queue file was cut off").caused_by(error)
}

/// A URI that tells SQLite that the file does not change.
fn immutable(path: &Path) -> String {
    let escaped = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    format!("file:{escaped}?immutable=1")
}

fn copied(path: &Path) -> Result<(Connection, Option<Copied>), BrokerError> {
    let unusable = |error: io::Error| {
        let context = format!(
            "queue file {} has a log that is not copied into it, or an older version, and could not be copied to be read; \
             look as a user who may write to it",
            path.display()
        );
        BrokerError::new(BrokerErrorKind::Invalid, context).caused_by(error)
    };
    let directory = std::env::temp_dir().join(format!("wasmpost-look-{}", uuid::Uuid::now_v7()));
    DirBuilder::new().mode(0o700).create(&directory).map_err(unusable)?;
    let copy = directory.join("queue.db");
    let copied = Copied(directory);
    let mut left = COPIED_BYTES_MAX;
    for suffix in ["", "-wal"] {
        let from = with_suffix(path, suffix);
        let bytes = match from.metadata() {
            Ok(metadata) => metadata.len(),
            Err(_) if !suffix.is_empty() => continue,
            Err(error) => return Err(unusable(error)),
        };
        let too_large = || unusable(io::Error::other(format!("larger than {COPIED_BYTES_MAX} bytes")));
        left = left.checked_sub(bytes).ok_or_else(too_large)?;
        std::fs::copy(&from, with_suffix(&copy, suffix)).map_err(unusable)?;
    }
    let fault = |error: rusqlite::Error| BrokerError::from(Failure::of(path, &error));
    let connection = Connection::open(&copy).map_err(fault)?;
    let version = open::version(path, &connection)?;
    migrate::migrate(&connection, version).map_err(fault)?;
    Ok((connection, Some(copied)))
}

fn only_looked_at() -> BrokerError {
    BrokerError::new(BrokerErrorKind::Unsupported, "queue file is open for reading only")
}

#[async_trait]
impl Broker for Looked {
    fn capabilities(&self) -> Capabilities {
        Capabilities::embedded()
    }

    async fn queue(&self, _: QueueSpec) -> Result<Arc<dyn Queue>, BrokerError> {
        Err(only_looked_at())
    }

    async fn publish(&self, _: Vec<Publication>) -> Result<Vec<Receipt>, BrokerError> {
        Err(only_looked_at())
    }

    async fn stats(&self) -> Result<Vec<QueueStats>, BrokerError> {
        let now = Clock::system().now();
        self.read(move |connection| read::stats(connection, now, &HashMap::new())).await
    }

    fn dead_letters(&self) -> Option<&dyn DeadLetters> {
        Some(self)
    }

    async fn close(&self) -> Result<(), BrokerError> {
        Ok(())
    }
}

#[async_trait]
impl DeadLetters for Looked {
    async fn list(&self, filter: &DeadLetterFilter, skip: usize, max: usize) -> Result<Vec<Listed>, BrokerError> {
        self.page(filter, skip, max, letters::list).await
    }

    async fn show(&self, filter: &DeadLetterFilter, skip: usize, max: usize) -> Result<Vec<DeadLetter>, BrokerError> {
        self.page(filter, skip, max, letters::show).await
    }

    async fn redrive(&self, _: &DeadLetterFilter) -> Result<u64, BrokerError> {
        Err(only_looked_at())
    }

    async fn purge(&self, _: &DeadLetterFilter) -> Result<u64, BrokerError> {
        Err(only_looked_at())
    }
}
