//! Taking over a file: what the process before had leased when it ended.

use std::time::Duration;

use wasmpost_delivery::{Attempt, AttemptVerdict, Evidence, Timestamp};
use wasmpost_msg::Reason;

use super::{ALONE, LEASED, Store};

/// A message that was leased when the process ended.
struct Interrupted {
    queue: i64,
    message: i64,
    since: Timestamp,
    deliveries: u32,
    crashes: u32,
}

impl Store {
    /// Begins a new epoch and puts back what the epochs before had leased; what was leased too often becomes a dead
    /// letter.
    pub(super) fn recover(&mut self) -> rusqlite::Result<()> {
        let sql = "INSERT INTO meta (name, value) VALUES ('epoch', 1) \
                   ON CONFLICT DO UPDATE SET value = value + 1 RETURNING value";
        self.epoch = self.connection.query_row(sql, [], |row| row.get(0))?;
        for interrupted in self.interrupted()? {
            let recovered = self.recover_one(&interrupted);
            recovered.map_err(|fault| match fault {
                crate::error::Fault::Sqlite(error) => error,
                // Nothing is refused while no caller asks.
                crate::error::Fault::Refused(_) => rusqlite::Error::InvalidQuery,
            })?;
        }
        Ok(())
    }

    fn interrupted(&self) -> rusqlite::Result<Vec<Interrupted>> {
        let sql = "SELECT queue, message, due, deliveries, crashes FROM state WHERE status = ?1";
        let mut find = self.connection.prepare(sql)?;
        let rows = find.query_map([LEASED], |row| {
            Ok(Interrupted {
                queue: row.get(0)?,
                message: row.get(1)?,
                since: Timestamp(row.get::<_, i64>(2)? as u64),
                deliveries: row.get(3)?,
                crashes: row.get(4)?,
            })
        })?;
        rows.collect()
    }

    fn recover_one(&mut self, interrupted: &Interrupted) -> crate::error::Outcome<()> {
        let Interrupted { queue, message, since, deliveries, crashes } = *interrupted;
        let crashes = crashes.saturating_add(1);
        let is_last = crashes >= self.crashes_max;
        let attempt = Attempt {
            number: deliveries,
            started_at: since,
            duration: self.now.since(since),
            verdict: if is_last { AttemptVerdict::Reject } else { AttemptVerdict::Nack },
            delay: (!is_last).then_some(Duration::ZERO),
            reason: Reason::Crash,
            error: "process ended while it had the message".into(),
        };
        let id = self.message_id(message);
        tracing::warn!(queue = %self.queue_name(queue)?, id, deliveries, crashes, "process ended while it had the message");
        if is_last {
            let evidence = Evidence { attempt: Some(attempt), ..Evidence::crashed(crashes) };
            return self.bury(queue, message, &evidence);
        }
        let sql = "UPDATE state SET status = ?3, due = ?4, failures = failures + 1, crashes = ?5 \
                   WHERE queue = ?1 AND message = ?2";
        self.connection.execute(sql, (queue, message, ALONE, self.now.0 as i64, crashes))?;
        self.remember(queue, message, attempt)
    }
}
