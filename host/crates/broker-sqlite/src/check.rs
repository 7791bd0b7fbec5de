//! Checks a whole queue file for damage.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use wasmpost_delivery::{BrokerError, BrokerErrorKind};

use crate::damage;
use crate::held;
use crate::look::Looked;
use crate::store::read;

/// How long a file is checked when it is opened to be served, and the most faults that are logged then.
const QUICK: Duration = Duration::from_secs(1);
const QUICK_FAULTS_MAX: usize = 5;

/// The most faults in a report.
const FAULTS_MAX: usize = 100;

/// Inconsistencies between rows: the SQL that counts them, and their description.
const RULES: &[(&str, &str)] = &[
    (
        "SELECT count(*) FROM state LEFT JOIN messages ON number = message WHERE number IS NULL",
        "places in queues without a message",
    ),
    (
        "SELECT count(*) FROM dead LEFT JOIN messages ON messages.number = dead.message WHERE messages.number IS NULL",
        "dead letters without a message",
    ),
    (
        "SELECT count(*) FROM state LEFT JOIN queues ON queues.id = state.queue WHERE queues.id IS NULL",
        "places in a queue that does not exist",
    ),
    (
        "SELECT count(*) FROM bindings LEFT JOIN queues ON queues.id = bindings.queue WHERE queues.id IS NULL",
        "topics bound to a queue that does not exist",
    ),
    (
        "SELECT count(*) FROM messages WHERE number NOT IN (SELECT message FROM state) \
         AND number NOT IN (SELECT message FROM dead)",
        "messages in no queue and no dead letter",
    ),
    (
        "SELECT count(*) FROM state WHERE status NOT IN (0, 1, 2, 3) OR typeof(due) <> 'integer' \
         OR typeof(deliveries) <> 'integer' OR typeof(failures) <> 'integer'",
        "places with an impossible status or count",
    ),
    (
        "SELECT count(*) FROM dead WHERE NOT json_valid(evidence) OR NOT json_valid(attempts)",
        "dead letters with an unreadable record",
    ),
    ("SELECT count(*) FROM history WHERE NOT json_valid(attempts)", "messages with an unreadable history"),
];

/// The result of a check of a queue file.
///
/// # Examples
///
/// ```no_run
/// use std::path::Path;
///
/// use wasmpost_broker_sqlite::{FileReport, check_file};
///
/// # async fn check() -> Result<(), wasmpost_delivery::BrokerError> {
/// let FileReport { faults, messages } = check_file(Path::new("wasmpost.db")).await?;
/// println!("{messages} messages, {} faults", faults.len());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct FileReport {
    /// The faults, one line each and a hundred at most; empty if there are none.
    pub faults: Vec<String>,
    /// The number of messages, dead letters included.
    pub messages: u64,
}

impl FileReport {
    fn add(&mut self, fault: impl Into<String>) {
        if !self.is_full() {
            self.faults.push(fault.into());
        }
    }

    fn is_full(&self) -> bool {
        self.faults.len() >= FAULTS_MAX
    }
}

/// Checks all of a queue file without changing it: its pages and indexes, its log, references between rows, and the
/// checksum of every message. A host may have it open meanwhile.
///
/// # Errors
///
/// `Invalid` for a file of another program or one that cannot be opened, `Corrupt` for one that is not an SQLite file,
/// `InUse` if this process has it open, and `Unavailable` if it cannot be read. Damage is no error: the report has it.
pub async fn check_file(path: &Path) -> Result<FileReport, BrokerError> {
    let path = path.to_owned();
    let looking = tokio::task::spawn_blocking(move || {
        let seen = held::seen(&path)?;
        let mut report = FileReport::default();
        if seen.is_quiet
            && let Some(fault) = damage::told(&seen.path)
        {
            report.add(fault);
        }
        match Looked::of(seen) {
            Ok(looked) => look_through(&looked.connection.lock(), &mut report),
            Err(error) => report.add(error.to_string()),
        }
        Ok(report)
    });
    looking.await.map_err(|error| BrokerError::new(BrokerErrorKind::Closed, "check was cut off").caused_by(error))?
}

/// Logs the faults that a short check finds in a file that was opened to be served.
pub(crate) fn tell_quickly(path: &Path, connection: &Connection) {
    let interrupt = connection.get_interrupt_handle();
    let (done, waiting) = mpsc::channel::<()>();
    let thread = std::thread::Builder::new().name("wasmpost-look".into()).spawn(move || {
        if waiting.recv_timeout(QUICK) == Err(RecvTimeoutError::Timeout) {
            interrupt.interrupt();
        }
    });
    // Without a thread that ends it in time, the check does not begin.
    let Ok(thread) = thread else { return };
    let mut report = FileReport::default();
    pages(connection, "quick_check", QUICK_FAULTS_MAX, &mut report);
    drop(done);
    drop(thread.join());
    for fault in report.faults {
        tracing::error!(
            path = %path.display(), %fault, "queue file is damaged; check all of it with check --queue"
        );
    }
}

fn look_through(connection: &Connection, report: &mut FileReport) {
    pages(connection, "integrity_check", FAULTS_MAX, report);
    for (sql, meaning) in RULES {
        match connection.query_row(sql, [], |row| row.get::<_, i64>(0)) {
            Ok(0) => {}
            Ok(count) => report.add(format!("{meaning}: {count}")),
            Err(error) => report.add(format!("references between rows cannot be read: {error}")),
        }
    }
    let mut last = i64::MIN;
    loop {
        let next = "SELECT min(number) FROM messages WHERE number > ?1";
        let number = match connection.query_row(next, [last], |row| row.get::<_, Option<i64>>(0)) {
            Ok(Some(number)) => number,
            Ok(None) => return,
            Err(error) => return report.add(format!("messages after number {last} cannot be read: {error}")),
        };
        last = number;
        report.messages += 1;
        if !read::is_intact(connection, number) {
            report.add(format!("message number {number} does not match its checksum"));
        }
        if report.is_full() {
            return;
        }
    }
}

/// Has SQLite check its pages. Pages that it does not reach in time are not faults.
fn pages(connection: &Connection, pragma: &str, max: usize, report: &mut FileReport) {
    let looked = connection.prepare(&format!("PRAGMA {pragma}({max})")).and_then(|mut look| {
        let lines = look.query_map([], |row| row.get::<_, String>(0))?;
        lines.collect::<Result<Vec<_>, _>>()
    });
    match looked {
        Ok(lines) => lines.into_iter().filter(|line| line != "ok").for_each(|line| report.add(line)),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {}
        Err(error) => report.add(format!("its pages cannot be read: {error}")),
    }
}
