//! Turns errors of SQLite into the one error of brokers.

use std::path::Path;

use rusqlite::ErrorCode;
use wasmpost_delivery::{BrokerError, BrokerErrorKind};

/// SQLite's extended error code for a file that was moved or deleted.
const MOVED: i32 = rusqlite::ffi::SQLITE_READONLY_DBMOVED;

/// The error of an operation of the writer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The operation was refused before anything was written; the others of its group go on.
    Refused(BrokerError),
    /// SQLite failed; the whole group is rolled back.
    Sqlite(rusqlite::Error),
}

/// The result of an operation.
pub(crate) type Outcome<T> = Result<T, Fault>;

/// An error that several callers can be answered with.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) kind: BrokerErrorKind,
    pub(crate) text: String,
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Failure {
    pub(crate) fn of(path: &Path, error: &rusqlite::Error) -> Self {
        let path = path.display();
        if error.sqlite_extended_error_code() == Some(MOVED) {
            let text = format!(
                "queue file {path} or its log was deleted, replaced or moved while it was open; nothing is confirmed any \
                 more"
            );
            return Self { kind: BrokerErrorKind::Closed, text };
        }
        let (kind, advice) = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => (BrokerErrorKind::Full, "is full; make room on the disk or raise its limit"),
            Some(ErrorCode::DatabaseCorrupt) => (BrokerErrorKind::Corrupt, "is damaged; restore it from a backup"),
            Some(ErrorCode::NotADatabase) => (BrokerErrorKind::Corrupt, "is not an SQLite file"),
            Some(ErrorCode::TooBig) => (BrokerErrorKind::Invalid, "takes no message of this size"),
            _ => (BrokerErrorKind::Unavailable, "could not be read or written"),
        };
        Self { kind, text: format!("queue file {path} {advice}: {error}") }
    }

    /// The same failure, with a note that the file is not used any more.
    pub(crate) fn last(self) -> Self {
        let text = format!("{}; the file is not used any more, restart to recover", self.text);
        Self { kind: BrokerErrorKind::Closed, text }
    }
}

impl From<Failure> for BrokerError {
    fn from(failure: Failure) -> Self {
        Self::new(failure.kind, failure.text)
    }
}

/// The error of a file that was moved or deleted.
pub(crate) fn moved() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(MOVED), None)
}

/// The error of a commit that did not reach the disk.
pub(crate) fn not_synchronised() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC), None)
}

/// Whether the cause may pass: a full disk, or another program that writes.
pub(crate) fn is_passing(error: &rusqlite::Error) -> bool {
    let passing = [ErrorCode::DiskFull, ErrorCode::DatabaseBusy, ErrorCode::DatabaseLocked];
    error.sqlite_error_code().is_some_and(|code| passing.contains(&code))
}

/// The part of a group in which an error came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum During {
    /// Before the commit began.
    Work,
    /// While the group was committed.
    Commit,
}

/// Whether this error leaves unknown which changes reached the disk, so that nothing may be confirmed any more.
pub(crate) fn is_fatal(error: &rusqlite::Error, during: During) -> bool {
    let fsync = [rusqlite::ffi::SQLITE_IOERR_FSYNC, rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC];
    let extended = error.sqlite_extended_error_code();
    let synchronising = extended.is_some_and(|code| fsync.contains(&code) || code == MOVED);
    synchronising || during == During::Commit && !is_passing(error)
}
