//! Settles leased messages: acks them, puts them back, or dead-letters them.

use rusqlite::{OptionalExtension, Row};
use wasmpost_delivery::prove::{Break, is_broken};
use wasmpost_delivery::{Attempt, BrokerError, BrokerErrorKind, Evidence, Nack, Timestamp};
use wasmpost_msg::Publication;

use super::dead::{Forgotten, lossy, whole};
use super::publish::Ids;
use super::{ALONE, BEHIND, READY, Store};
use crate::ahead::Leased;
use crate::error::{Fault, Outcome};

/// The fate of a message that leaves a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Afterwards {
    /// It is deleted, unless another queue or a dead letter has it.
    Forgotten,
    /// It is kept, as a dead letter.
    Kept,
}

impl Store {
    pub(crate) fn ack(&mut self, token: u64, outbox: &[Publication]) -> Outcome<()> {
        self.check_quotas(outbox)?;
        let (queue, message) = self.settled(token)?.place();
        self.publish_all(outbox)?;
        self.end(queue, message, Afterwards::Forgotten)?;
        *self.changes.acked.entry(queue).or_default() += 1;
        Ok(())
    }

    /// Acks leases without an outbox, by their tokens. Returns the errors of those that were refused, with their
    /// places.
    ///
    /// Messages with no more than their two rows are deleted in runs of consecutive numbers.
    pub(crate) fn ack_all(&mut self, tokens: impl Iterator<Item = u64>) -> rusqlite::Result<Vec<(usize, BrokerError)>> {
        let mut plain = Vec::new();
        let mut refused = Vec::new();
        for (place, token) in tokens.enumerate() {
            let acked = match self.leased(token) {
                Ok(leased) if leased.is_plain => {
                    self.changes.settled.push(token);
                    plain.push(leased.place());
                    continue;
                }
                Ok(_) => self.ack(token, &[]),
                Err(fault) => Err(fault),
            };
            match acked {
                Ok(()) => {}
                Err(Fault::Refused(error)) => refused.push((place, error)),
                Err(Fault::Sqlite(error)) => return Err(error),
            }
        }
        plain.sort_unstable();
        // A message is in it twice if a lost lease still settled, which happens only where proofs break wasmpost on
        // purpose.
        plain.dedup();
        for run in plain.chunk_by(|one, next| one.0 == next.0 && one.1 + 1 == next.1) {
            let (Some((queue, first)), Some((_, last))) = (run.first(), run.last()) else { continue };
            let sql = "DELETE FROM state WHERE queue = ?1 AND message BETWEEN ?2 AND ?3";
            self.connection.prepare_cached(sql)?.execute((queue, first, last))?;
            let sql = "DELETE FROM messages WHERE number BETWEEN ?1 AND ?2";
            self.connection.prepare_cached(sql)?.execute((first, last))?;
            *self.changes.acked.entry(*queue).or_default() += run.len() as u64;
        }
        Ok(refused)
    }

    /// Publishes an outbox. Its messages need no deduplication: their ids are made from the source, which is acked in
    /// this transaction or not at all.
    pub(crate) fn publish_all(&mut self, outbox: &[Publication]) -> Outcome<()> {
        outbox.iter().try_for_each(|publication| self.publish_one(publication, Ids::OfHost).map(drop))
    }

    pub(crate) fn nack(&mut self, token: u64, nack: &Nack) -> Outcome<()> {
        let leased = self.settled(token)?;
        self.put_back(&leased, self.now.after(nack.delay), nack.attempt.clone())
    }

    pub(crate) fn reject(&mut self, token: u64, evidence: &Evidence) -> Outcome<()> {
        let leased = self.settled(token)?;
        let (queue, message) = leased.place();
        self.bury((queue, message, leased.hold.note.deliveries), evidence)
    }

    /// A lease that ends with this group.
    pub(super) fn settled(&mut self, token: u64) -> Outcome<Leased> {
        let leased = self.leased(token)?;
        self.changes.settled.push(token);
        Ok(leased)
    }

    fn leased(&self, token: u64) -> Outcome<Leased> {
        // The lease itself was checked before; it is gone only if the broker was closed meanwhile.
        let gone = || BrokerError::new(BrokerErrorKind::Stale, "lease is not held any more");
        let leased = self.channel.upgrade().and_then(|channel| channel.ahead().leased(token));
        leased.ok_or_else(|| Fault::Refused(gone()))
    }

    pub(super) fn put_back(&mut self, leased: &Leased, due: Timestamp, attempt: Option<Attempt>) -> Outcome<()> {
        let (queue, message) = leased.place();
        let sql = "UPDATE state SET status = iif(crashes > 0, ?3, ?4), due = ?5, failures = failures + ?6, \
                   deliveries = max(deliveries, ?7) WHERE queue = ?1 AND message = ?2";
        let failures = i64::from(attempt.is_some());
        let is_counted = attempt.is_some() || !is_broken(Break::CountAtFailure);
        let deliveries = if is_counted { leased.hold.note.deliveries } else { 0 };
        let values = (queue, message, ALONE, READY, due.0 as i64, failures, deliveries);
        self.connection.prepare_cached(sql)?.execute(values)?;
        if leased.alone {
            self.suspected.insert(queue);
        }
        if let Some(expires_at) = leased.expires_at {
            self.expires_by(expires_at);
        }
        match attempt {
            Some(attempt) => self.remember(queue, message, attempt),
            None => Ok(()),
        }
    }

    /// Adds an attempt to the history of a message, which keeps the latest.
    pub(super) fn remember(&self, queue: i64, message: i64, attempt: Attempt) -> Outcome<()> {
        let mut history = self.history(queue, message)?;
        attempt.add_to(&mut history);
        let sql = "INSERT INTO history (queue, message, attempts) VALUES (?1, ?2, ?3) \
                   ON CONFLICT DO UPDATE SET attempts = ?3";
        let text = serde_json::to_string(&history).unwrap_or_default();
        self.connection.prepare_cached(sql)?.execute((queue, message, text))?;
        Ok(())
    }

    pub(super) fn history(&self, queue: i64, message: i64) -> Outcome<Vec<Attempt>> {
        let sql = "SELECT attempts FROM history WHERE queue = ?1 AND message = ?2";
        let text: Option<String> =
            self.connection.prepare_cached(sql)?.query_row((queue, message), |row| row.get(0)).optional()?;
        // A history that cannot be read must not cost the message.
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    pub(super) fn expire(&mut self, queue: i64, message: i64) -> Outcome<()> {
        if self.end(queue, message, Afterwards::Forgotten)? {
            *self.changes.expired.entry(queue).or_default() += 1;
            self.forget_if_empty(queue)?;
        }
        Ok(())
    }

    /// Takes a message out of a queue and makes the next one with its key ready. Returns whether it was in the
    /// queue.
    pub(super) fn end(&mut self, queue: i64, message: i64, afterwards: Afterwards) -> Outcome<bool> {
        let sql = "DELETE FROM state WHERE queue = ?1 AND message = ?2 RETURNING key, shared, deliveries, status";
        let mut delete = self.connection.prepare_cached(sql)?;
        let row = delete.query_row((queue, message), |row| {
            Ok((row.get::<_, Option<String>>(0)?, row.get::<_, bool>(1)?, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?))
        });
        let Some((key, shared, deliveries, status)) = row.optional()? else { return Ok(false) };
        drop(delete);
        // A message that expired while it waited for another with its key makes no other ready.
        if let Some(key) = key.filter(|_| status != BEHIND) {
            let next = "UPDATE state SET status = iif(crashes > 0, ?4, ?3) WHERE queue = ?1 AND status = ?5 AND \
                        message = (SELECT min(message) FROM state WHERE queue = ?1 AND key = ?2) RETURNING status";
            let mut next = self.connection.prepare_cached(next)?;
            let status = next.query_row((queue, key, READY, ALONE, BEHIND), |row| row.get::<_, i64>(0)).optional()?;
            drop(next);
            match status {
                Some(ALONE) => drop(self.suspected.insert(queue)),
                Some(_) => *self.unblocked.entry(queue).or_default() += 1,
                None => {}
            }
        }
        // Only a message that was delivered before has a history.
        if deliveries > 0 || afterwards == Afterwards::Kept {
            let sql = "DELETE FROM history WHERE queue = ?1 AND message = ?2";
            self.connection.prepare_cached(sql)?.execute((queue, message))?;
        }
        if afterwards == Afterwards::Forgotten {
            drop(self.forget(message, shared)?);
        }
        Ok(true)
    }

    /// Deletes a message unless another queue or a dead letter has it. Returns its topic, id and time.
    pub(super) fn forget(&mut self, message: i64, shared: bool) -> Outcome<Option<Forgotten>> {
        let sql = if shared {
            "DELETE FROM messages WHERE number = ?1 \
             AND NOT EXISTS (SELECT 1 FROM state WHERE message = ?1 AND shared = 1) \
             AND NOT EXISTS (SELECT 1 FROM dead WHERE message = ?1 AND shared = 1) RETURNING topic, id, published_at"
        } else {
            "DELETE FROM messages WHERE number = ?1 RETURNING topic, id, published_at"
        };
        // A damaged message is deleted as well.
        let told = |row: &Row<'_>| {
            let published_at = Timestamp(u64::try_from(whole(row.get_ref(2)?)).unwrap_or(0));
            Ok((lossy(row.get_ref(0)?), lossy(row.get_ref(1)?), published_at))
        };
        let forgotten = self.connection.prepare_cached(sql)?.query_row([message], told).optional()?;
        if let Some((topic, ..)) = &forgotten {
            self.count_message(topic, -1);
        }
        Ok(forgotten)
    }
}
