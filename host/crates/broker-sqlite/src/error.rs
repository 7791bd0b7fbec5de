//! From SQLite's errors to the one error of brokers.

use std::path::Path;

use rusqlite::ErrorCode;
use wasmpost_delivery::{BrokerError, BrokerErrorKind};

/// What SQLite says of a file that is not where it was.
const MOVED: i32 = rusqlite::ffi::SQLITE_READONLY_DBMOVED;

/// Why an operation of the writer failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It was refused before anything was written; the other operations of its group go on.
    Refused(BrokerError),
    /// SQLite failed; the whole group is rolled back.
    Sqlite(rusqlite::Error),
}

/// What an operation comes to.
pub(crate) type Outcome<T> = Result<T, Fault>;

/// An error that can be told to several callers.
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

    /// The same failure, after which the file is not used any more.
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

/// The error of a file that is not where it was.
pub(crate) fn moved() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(MOVED), None)
}

/// The error of a commit that the disk did not take.
pub(crate) fn not_synchronised() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC), None)
}

/// Whether what is in the way now may be out of it later: a disk that is full, or another program that writes.
pub(crate) fn is_passing(error: &rusqlite::Error) -> bool {
    let passing = [ErrorCode::DiskFull, ErrorCode::DatabaseBusy, ErrorCode::DatabaseLocked];
    error.sqlite_error_code().is_some_and(|code| passing.contains(&code))
}

/// Whether it is unknown after this error what of the file reached the disk, so that nothing may be confirmed any more.
pub(crate) fn is_fatal(error: &rusqlite::Error, committing: bool) -> bool {
    let fsync = [rusqlite::ffi::SQLITE_IOERR_FSYNC, rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC];
    let extended = error.sqlite_extended_error_code();
    let synchronising = extended.is_some_and(|code| fsync.contains(&code) || code == MOVED);
    synchronising || committing && !is_passing(error)
}
