//! Takes over a file: the messages that the last process had in flight when it ended.

use std::path::Path;
use std::time::Duration;

use rusqlite::OptionalExtension;
use uuid::Uuid;
use wasmpost_delivery::prove::{Break, is_broken};
use wasmpost_delivery::{Attempt, AttemptVerdict, Evidence, Timestamp};
use wasmpost_msg::Reason;

use super::dead::whole;
use super::read::mark_of;
use super::settle::Afterwards;
use super::{ALONE, LEASED, Store};
use crate::error::{Fault, Outcome};
use crate::flight::{self, Found, Note, Phase};

/// A message that was in flight when the process ended.
struct Interrupted {
    queue: i64,
    message: i64,
    since: Timestamp,
    deliveries: u32,
    crashes: u32,
}

impl Store {
    /// Begins a new epoch, and puts back the messages that were in flight when the last one ended; a message to which
    /// that happened too often becomes a dead letter. Returns the number of this run, which the flight file has as
    /// well.
    pub(super) fn recover(&mut self, flight_file: &Path) -> rusqlite::Result<u64> {
        let sql = "INSERT INTO meta (name, value) VALUES ('epoch', 1) ON CONFLICT DO UPDATE SET value = value + 1";
        self.connection.execute(sql, [])?;
        let interrupted = self.interrupted()?;
        let recovered = interrupted.iter().try_for_each(|interrupted| self.recover_one(interrupted));
        let recovered = recovered.and_then(|()| self.recover_flight(flight_file));
        recovered.map_err(|fault| match fault {
            Fault::Sqlite(error) => error,
            // No operation is refused here, because no caller asked for one.
            Fault::Refused(_) => rusqlite::Error::InvalidQuery,
        })?;
        // The second half of the number is random.
        let (_, run) = Uuid::now_v7().as_u64_pair();
        let sql = "INSERT INTO meta (name, value) VALUES ('run', ?1) ON CONFLICT DO UPDATE SET value = ?1";
        self.connection.execute(sql, [run as i64])?;
        Ok(run)
    }

    /// Messages that an earlier version had leased: it wrote leases into the file.
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

    /// The notes in the flight file. There is one unless the last run was closed in order.
    fn recover_flight(&mut self, path: &Path) -> Outcome<()> {
        let sql = "SELECT value FROM meta WHERE name = 'run'";
        let run: Option<i64> = self.connection.query_row(sql, [], |row| row.get(0)).optional()?;
        let Some(run) = run.filter(|_| !is_broken(Break::FlightIgnored)) else { return Ok(()) };
        let Found { notes, fault } = flight::read(path, run as u64);
        if let Some(fault) = fault {
            tracing::warn!(
                path = %path.display(), %fault,
                "flight file is not fully usable; attempts that the last end of the host cut off may go uncounted"
            );
        }
        for (note, phase) in notes {
            let Some(crashes) = self.crashes_of(&note)? else { continue };
            if phase == Phase::Acked {
                self.end(note.queue, note.message, Afterwards::Forgotten)?;
                *self.changes.acked.entry(note.queue).or_default() += 1;
                continue;
            }
            let Note { queue, message, deliveries, since, .. } = note;
            self.recover_one(&Interrupted { queue, message, since, deliveries, crashes })?;
        }
        Ok(())
    }

    /// How many crashes a message has in its queue; `None` if the file has the outcome of the delivery.
    fn crashes_of(&self, note: &Note) -> Outcome<Option<u32>> {
        let sql = "SELECT state.deliveries, crashes, checksum FROM state JOIN messages ON number = message \
                   WHERE queue = ?1 AND message = ?2";
        let mut find = self.connection.prepare_cached(sql)?;
        let found = find.query_row((note.queue, note.message), |row| {
            let is_it = row.get_ref(2)?.as_blob().is_ok_and(|checksum| mark_of(checksum) == note.mark);
            // A damaged column is replaced by a plausible value.
            let [deliveries, crashes] = [whole(row.get_ref(0)?), whole(row.get_ref(1)?)];
            Ok((u32::try_from(deliveries).unwrap_or(0), u32::try_from(crashes).unwrap_or(0), is_it))
        });
        let found = found.optional()?.filter(|(deliveries, _, is_it)| *is_it && *deliveries < note.deliveries);
        Ok(found.map(|(_, crashes, _)| crashes))
    }

    fn recover_one(&mut self, interrupted: &Interrupted) -> Outcome<()> {
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
            return self.bury((queue, message, deliveries), &evidence);
        }
        let counted = if is_broken(Break::CountAtFailure) { 0 } else { deliveries };
        let sql = "UPDATE state SET status = ?3, due = ?4, failures = failures + 1, crashes = ?5, \
                   deliveries = max(deliveries, ?6) WHERE queue = ?1 AND message = ?2";
        self.connection.execute(sql, (queue, message, ALONE, self.now.0 as i64, crashes, counted))?;
        self.remember(queue, message, attempt)
    }
}
