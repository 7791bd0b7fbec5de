//! Opens a queue file: checks that it is one of ours, and brings its schema up to date.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use wasmpost_delivery::prove::{Break, is_broken};
use wasmpost_delivery::{BrokerError, BrokerErrorKind};

use crate::broker::Durability;
use crate::error::{Failure, moved};
use crate::held::Held;
use crate::{damage, migrate};

/// The `PRAGMA application_id` of queue files: "wpos".
const APPLICATION_ID: i32 = 0x7770_6f73;
/// How long a reader in another process may hold up a write.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// A write-ahead log that is larger than this, in bytes, is cut back to it when it starts over.
const LOG_BYTES_KEPT: i64 = 64 << 20;

/// An open queue file that no other process has.
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    /// Dropped after the connection.
    pub(crate) held: Held,
}

pub(crate) fn open(held: Held, durability: Durability, bytes_max: Option<u64>) -> Result<Opened, BrokerError> {
    let path = held.path();
    damage::tell(path);
    // A file that is gone is not made again here: the new one would not be the file that is locked.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| Failure::of(path, &error))?;
    set_up(path, &connection, durability)?;
    if let Some(bytes_max) = bytes_max {
        limit(&connection, bytes_max).map_err(|error| Failure::of(path, &error))?;
    }
    if !held.is_in_place() {
        return Err(Failure::of(path, &moved()).into());
    }
    Ok(Opened { connection, held })
}

fn set_up(path: &Path, connection: &Connection, durability: Durability) -> Result<(), BrokerError> {
    let fault = |error: rusqlite::Error| BrokerError::from(Failure::of(path, &error));
    connection.busy_timeout(BUSY_TIMEOUT).map_err(fault)?;
    connection.set_prepared_statement_cache_capacity(128);
    let version = version(path, connection)?;
    (|| {
        if version == 0 {
            // Both take effect only before the first table is made.
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
            connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        }
        write_ahead(connection)?;
        let synchronous = match durability {
            _ if is_broken(Break::FsyncSkipped) => "OFF",
            Durability::Full | Durability::Gathered => "FULL",
            Durability::Normal => "NORMAL",
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES_KEPT, |_| Ok(()))?;
        connection.pragma_update(None, "cache_size", -32_768)?;
        migrate::migrate(connection, version)
    })()
    .map_err(fault)
}

/// Makes SQLite use a write-ahead log, and checks that it does: where it cannot, it keeps its old journal mode and
/// reports no error.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // The first read makes the log of a file that had none, or shows that the journal mode is still the old one.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    let fault = format!("cannot use a write-ahead log, journal_mode stays {mode}");
    Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR), Some(fault)))
}

/// Makes SQLite refuse changes that would make the file larger than this.
fn limit(connection: &Connection, bytes_max: u64) -> rusqlite::Result<()> {
    let page_bytes: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let pages = i64::try_from(bytes_max).unwrap_or(i64::MAX) / page_bytes.max(1);
    connection.pragma_update_and_check(None, "max_page_count", pages.clamp(1, i64::from(u32::MAX - 1)), |_| Ok(()))
}

/// The version of the schema, 0 for an empty file. An error if the file is not a queue file, or is newer than this
/// program.
pub(crate) fn version(path: &Path, connection: &Connection) -> Result<usize, BrokerError> {
    let fault = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => BrokerError::new(
            BrokerErrorKind::Invalid,
            format!("file {} is not a queue file of wasmpost; name another one", path.display()),
        ),
        _ => Failure::of(path, &error).into(),
    };
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0)).map_err(fault);
    let application = number("application_id")?;
    let version = number("user_version")?;
    let first: Option<i64> =
        connection.query_row("SELECT 1 FROM sqlite_schema LIMIT 1", [], |row| row.get(0)).optional().map_err(fault)?;
    if application != APPLICATION_ID && (application != 0 || version != 0 || first.is_some()) {
        let context = format!("file {} is an SQLite file of another program; name another one", path.display());
        return Err(BrokerError::new(BrokerErrorKind::Invalid, context));
    }
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    if version > migrate::VERSION {
        let path = path.display();
        let known = migrate::VERSION;
        let context = format!(
            "queue file {path} has version {version}, this wasmpost knows {known} at most; use a newer wasmpost"
        );
        return Err(BrokerError::new(BrokerErrorKind::Invalid, context));
    }
    Ok(version)
}
