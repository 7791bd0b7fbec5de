//! Dead letters.

use bytes::Bytes;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Row, params_from_iter};
use wasmpost_delivery::prove::{Point, pass};
use wasmpost_delivery::{Attempt, DeadLetter, DeadLetterFilter, Evidence, Page, Timestamp};
use wasmpost_msg::Reason;

use super::{Store, pull::Stored};
use crate::error::Outcome;

/// A row of the table `dead`.
struct Grave {
    number: i64,
    queue: String,
    message: i64,
    shared: bool,
    deliveries: u32,
    id: String,
    reason: String,
    dead_at: Timestamp,
    evidence: String,
    attempts: String,
}

const COLUMNS: &str = "number, queue, message, shared, deliveries, id, reason, dead_at, evidence, attempts";

impl Store {
    /// Moves a message from its queue to the dead letters.
    pub(super) fn bury(&mut self, queue: i64, message: i64, evidence: &Evidence) -> Outcome<()> {
        let mut attempts = self.history(queue, message)?;
        if let Some(attempt) = evidence.attempt.clone() {
            attempt.add_to(&mut attempts);
        }
        let name = self.queue_name(queue)?;
        let sql = "INSERT INTO dead (queue, message, id, reason, dead_at, deliveries, shared, evidence, attempts) \
                   SELECT ?3, ?2, coalesce((SELECT id FROM messages WHERE number = ?2), ''), ?4, ?5, deliveries, shared, \
                   ?6, ?7 FROM state WHERE queue = ?1 AND message = ?2";
        let (evidence_text, attempts) = (text(evidence), text(&attempts));
        let (reason, dead_at) = (evidence.reason.as_str(), self.now.0 as i64);
        let values = (queue, message, name, reason, dead_at, evidence_text, attempts);
        self.connection.prepare_cached(sql)?.execute(values)?;
        pass(Point::DeadLetterMoving);
        self.end(queue, message, false)
    }

    pub(crate) fn dead_letters(
        &mut self,
        filter: &DeadLetterFilter,
        skip: usize,
        max: usize,
    ) -> Outcome<Vec<DeadLetter>> {
        let mut page = Page::new(max);
        for grave in self.graves(filter, skip, max)? {
            if !page.add(self.dead_letter(grave)?) {
                break;
            }
        }
        Ok(page.into_letters())
    }

    pub(crate) fn redrive(&mut self, filter: &DeadLetterFilter) -> Outcome<u64> {
        let graves = self.graves(filter, 0, usize::MAX)?;
        let count = graves.len() as u64;
        for grave in graves {
            let queue = self.queue_number(&grave.queue)?;
            let key: Option<String> = self.stored(grave.message)?.and_then(|stored| stored.key);
            let status = self.status_behind_key(queue, key.as_deref())?;
            let sql = "INSERT INTO state (queue, message, status, due, deliveries, shared, key) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let (due, deliveries, shared) = (self.now.0 as i64, grave.deliveries, grave.shared);
            let values = (queue, grave.message, status, due, deliveries, shared, key);
            self.connection.prepare_cached(sql)?.execute(values)?;
            let sql = "INSERT OR REPLACE INTO history (queue, message, attempts) VALUES (?1, ?2, ?3)";
            self.connection.prepare_cached(sql)?.execute((queue, grave.message, grave.attempts))?;
            self.connection.prepare_cached("DELETE FROM dead WHERE number = ?1")?.execute([grave.number])?;
        }
        Ok(count)
    }

    pub(crate) fn purge(&mut self, filter: &DeadLetterFilter) -> Outcome<u64> {
        let graves = self.graves(filter, 0, usize::MAX)?;
        for grave in &graves {
            self.connection.prepare_cached("DELETE FROM dead WHERE number = ?1")?.execute([grave.number])?;
            self.forget(grave.message, grave.shared)?;
        }
        Ok(graves.len() as u64)
    }

    fn graves(&self, filter: &DeadLetterFilter, skip: usize, max: usize) -> Outcome<Vec<Grave>> {
        let mut conditions = vec!["TRUE".to_owned()];
        let mut values: Vec<Value> = Vec::new();
        if !filter.ids.is_empty() {
            conditions.push(format!("id IN ({})", vec!["?"; filter.ids.len()].join(", ")));
            values.extend(filter.ids.iter().cloned().map(Value::from));
        }
        if let Some(queue) = &filter.queue {
            conditions.push("queue = ?".into());
            values.push(queue.clone().into());
        }
        if let Some(reason) = filter.reason {
            conditions.push("reason = ?".into());
            values.push(reason.as_str().to_owned().into());
        }
        values.extend([max, skip].map(|number| Value::from(i64::try_from(number).unwrap_or(i64::MAX))));
        let conditions = conditions.join(" AND ");
        let sql = format!("SELECT {COLUMNS} FROM dead WHERE {conditions} ORDER BY dead_at, number LIMIT ? OFFSET ?");
        let mut find = self.connection.prepare(&sql)?;
        let rows = find.query_map(params_from_iter(values), grave)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn dead_letter(&self, grave: Grave) -> Outcome<DeadLetter> {
        let stored = self.stored(grave.message)?.unwrap_or_else(|| Stored {
            id: grave.id.clone(),
            topic: String::new(),
            key: None,
            hops: 0,
            published_at: grave.dead_at,
            attributes: wasmpost_msg::Attributes::new(),
            body: Bytes::new(),
            intact: false,
        });
        let unreadable = |_| {
            let reason = grave.reason.parse().unwrap_or(Reason::Failed);
            Evidence::by_host(reason, "evidence in the queue file was damaged")
        };
        let attempts: Vec<Attempt> = serde_json::from_str(&grave.attempts).unwrap_or_default();
        Ok(DeadLetter {
            id: grave.id.clone(),
            queue: grave.queue.clone(),
            topic: stored.topic,
            attributes: stored.attributes,
            body: stored.body,
            key: stored.key,
            hops: stored.hops,
            deliveries: grave.deliveries,
            published_at: stored.published_at,
            dead_at: grave.dead_at,
            evidence: serde_json::from_str(&grave.evidence).unwrap_or_else(unreadable),
            attempts,
        })
    }
}

/// What a damaged row tells is taken for what it may have been: its neighbours are to be listed, and the message itself is
/// to be had.
fn grave(row: &Row<'_>) -> rusqlite::Result<Grave> {
    Ok(Grave {
        number: row.get(0)?,
        queue: row.get(1)?,
        message: row.get(2)?,
        shared: row.get(3)?,
        deliveries: u32::try_from(whole(row.get_ref(4)?)).unwrap_or(0),
        id: row.get(5)?,
        reason: lossy(row.get_ref(6)?),
        dead_at: Timestamp(u64::try_from(whole(row.get_ref(7)?)).unwrap_or(0)),
        evidence: lossy(row.get_ref(8)?),
        attempts: lossy(row.get_ref(9)?),
    })
}

fn whole(value: ValueRef<'_>) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn lossy(value: ValueRef<'_>) -> String {
    value.as_bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
}

fn text(value: &impl serde::Serialize) -> String {
    // Evidence and attempts are plain records, which always have a JSON text.
    serde_json::to_string(value).unwrap_or_default()
}
