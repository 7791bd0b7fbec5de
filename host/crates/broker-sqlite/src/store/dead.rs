//! Makes dead letters of messages, puts them back, and deletes them.

use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension, Row};
use wasmpost_delivery::prove::{Point, pass};
use wasmpost_delivery::{DeadLetterFilter, Evidence, Timestamp};

use super::Store;
use super::settle::Afterwards;
use crate::error::Outcome;

/// The columns of a dead letter that are needed to put it back or delete it.
pub(crate) struct Grave {
    pub(crate) number: i64,
    queue: String,
    message: i64,
    shared: bool,
    deliveries: u32,
    reason: String,
}

const COLUMNS: &str = "number, queue, message, shared, deliveries, reason";

impl Store {
    /// Moves a message from its queue to the dead letters, after `deliveries` deliveries.
    pub(super) fn bury(&mut self, (queue, message, deliveries): (i64, i64, u32), evidence: &Evidence) -> Outcome<()> {
        let mut attempts = self.history(queue, message)?;
        if let Some(attempt) = evidence.attempt.clone() {
            attempt.add_to(&mut attempts);
        }
        let name = self.queue_name(queue)?;
        self.last_grave += 1;
        let sql = "INSERT INTO dead (number, queue, message, id, reason, dead_at, deliveries, shared, evidence, attempts) \
                   SELECT ?8, ?3, ?2, coalesce((SELECT id FROM messages WHERE number = ?2), ''), ?4, ?5, max(deliveries, ?9), \
                   shared, ?6, ?7 FROM state WHERE queue = ?1 AND message = ?2";
        let evidence_text = text(evidence);
        let attempts = text(&attempts);
        let reason = evidence.reason.as_str();
        let dead_at = self.now.0 as i64;
        let values = (queue, message, name, reason, dead_at, evidence_text, attempts, self.last_grave, deliveries);
        self.connection.prepare_cached(sql)?.execute(values)?;
        pass(Point::DeadLetterMoving);
        self.end(queue, message, Afterwards::Kept).map(drop)
    }

    /// The number of the last dead letter. As long as the file is open, later ones have larger numbers, even if earlier
    /// ones are deleted.
    pub(crate) fn last_grave(&self) -> i64 {
        self.last_grave
    }

    pub(super) fn load_last_grave(&mut self) -> rusqlite::Result<()> {
        let sql = "SELECT coalesce(max(number), 0) FROM dead";
        self.last_grave = self.connection.query_row(sql, [], |row| row.get(0))?;
        Ok(())
    }

    /// The numbers of the dead letters with an id.
    pub(crate) fn graves_of(&self, id: &str) -> Outcome<Vec<i64>> {
        let mut find = self.connection.prepare_cached("SELECT number FROM dead WHERE id = ?1")?;
        let rows = find.query_map([id], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One dead letter, if it is still there.
    pub(crate) fn grave(&self, number: i64) -> Outcome<Option<Grave>> {
        let sql = format!("SELECT {COLUMNS} FROM dead WHERE number = ?1");
        Ok(self.connection.prepare_cached(&sql)?.query_row([number], grave).optional()?)
    }

    /// The next dead letters after a number and up to another one, of one queue or of all.
    pub(crate) fn graves_after(
        &self,
        queue: Option<&str>,
        (after, last): (i64, i64),
        max: usize,
    ) -> Outcome<Vec<Grave>> {
        let of_queue = if queue.is_some() { "queue = ?4 AND" } else { "?4 IS NULL AND" };
        let sql = format!(
            "SELECT {COLUMNS} FROM dead WHERE {of_queue} number > ?1 AND number <= ?2 ORDER BY number LIMIT ?3"
        );
        let mut find = self.connection.prepare_cached(&sql)?;
        let rows = find.query_map((after, last, max as i64, queue), grave)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Puts a dead letter back into its queue, with no failures counted.
    pub(crate) fn redrive(&mut self, grave: &Grave) -> Outcome<()> {
        let queue = self.queue_number(&grave.queue)?;
        let key = "SELECT key FROM messages WHERE number = ?1";
        let key = self.connection.prepare_cached(key)?.query_row([grave.message], |row| row.get(0)).optional()?;
        let key: Option<String> = key.flatten();
        let status = self.status_behind_key(queue, key.as_deref())?;
        let sql = "INSERT INTO state (queue, message, status, due, deliveries, shared, key) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let values = (queue, grave.message, status, self.now.0 as i64, grave.deliveries, grave.shared, key);
        self.connection.prepare_cached(sql)?.execute(values)?;
        let sql = "INSERT OR REPLACE INTO history (queue, message, attempts) \
                   SELECT ?1, message, attempts FROM dead WHERE number = ?2 AND attempts <> '[]'";
        self.connection.prepare_cached(sql)?.execute((queue, grave.number))?;
        self.connection.prepare_cached("DELETE FROM dead WHERE number = ?1")?.execute([grave.number])?;
        Ok(())
    }

    /// Deletes a dead letter. If no queue has its message any more, the id can be published again.
    pub(crate) fn purge(&mut self, grave: &Grave) -> Outcome<()> {
        self.connection.prepare_cached("DELETE FROM dead WHERE number = ?1")?.execute([grave.number])?;
        let forgotten = self.forget(grave.message, grave.shared)?;
        match forgotten {
            Some((topic, id, published_at)) => self.forget_id(&topic, &id, published_at),
            None => Ok(()),
        }
    }

    /// The size of the body of a dead letter, in bytes.
    pub(crate) fn body_bytes(&self, grave: &Grave) -> Outcome<usize> {
        let sql = "SELECT length(body) FROM messages WHERE number = ?1";
        let bytes = self.connection.prepare_cached(sql)?.query_row([grave.message], |row| row.get(0)).optional()?;
        Ok(bytes.map_or(0, |bytes: i64| usize::try_from(bytes).unwrap_or(0)))
    }
}

impl Grave {
    /// Whether a filter selects it, leaving ids aside.
    pub(crate) fn is_meant(&self, filter: &DeadLetterFilter) -> bool {
        filter.queue.as_ref().is_none_or(|queue| *queue == self.queue)
            && filter.reason.is_none_or(|reason| reason.as_str() == self.reason)
    }
}

/// Columns of a damaged row are replaced by plausible values, so that its neighbours and the message itself can be
/// read.
fn grave(row: &Row<'_>) -> rusqlite::Result<Grave> {
    Ok(Grave {
        number: row.get(0)?,
        queue: row.get(1)?,
        message: row.get(2)?,
        shared: row.get(3)?,
        deliveries: u32::try_from(whole(row.get_ref(4)?)).unwrap_or(0),
        reason: lossy(row.get_ref(5)?),
    })
}

pub(super) fn whole(value: ValueRef<'_>) -> i64 {
    value.as_i64().unwrap_or(0)
}

pub(super) fn lossy(value: ValueRef<'_>) -> String {
    value.as_bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
}

/// A message that was deleted: its topic, its id, and the time at which it was published.
pub(super) type Forgotten = (String, String, Timestamp);

fn text(value: &impl serde::Serialize) -> String {
    // Evidence and attempts are plain records, which always have a JSON text.
    serde_json::to_string(value).unwrap_or_default()
}
