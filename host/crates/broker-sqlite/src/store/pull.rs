//! Leasing what is due.

use std::sync::Arc;
use std::time::Duration;

use wasmpost_delivery::prove::{Break, is_broken};
use wasmpost_delivery::{Delivery, Evidence};
use wasmpost_msg::Reason;

use super::read::{Stored, stored};
use super::{ALONE, LEASED, Leased, READY, Store};
use crate::error::Outcome;
use crate::lease::{Hold, SqliteLease};

/// The most bytes of bodies that one pull leases; at least one message, however large.
const PULL_BYTES_MAX: usize = 16 << 20;
/// Messages that have expired or are damaged, and that pulls of one group end; the next group goes on.
const ENDED_MAX: usize = 512;

/// What is due, as the table of states tells.
struct Due {
    message: i64,
    deliveries: u32,
    failures: u32,
    expires_at: Option<i64>,
}

/// What may be leased from a queue.
enum Turn {
    /// Nothing: a message is or is to be leased alone.
    Nobody,
    /// A message that a process ended with, alone.
    Suspect,
    /// All others.
    All,
}

impl Store {
    /// Leases at most `max` messages that are due. A message that a process ended with before is leased alone, so that
    /// it takes no other with it when it does so again.
    pub(crate) fn lease(&mut self, queue: i64, max: usize, lasts: Duration) -> Outcome<Vec<Delivery>> {
        loop {
            let alone = match self.turn(queue)? {
                Turn::Nobody => return Ok(Vec::new()),
                Turn::Suspect => true,
                Turn::All => false,
            };
            let due = if alone { self.due(queue, ALONE, 1)? } else { self.due(queue, READY, max)? };
            if due.is_empty() {
                return Ok(Vec::new());
            }
            let deliveries = self.lease_all(queue, due, lasts, alone)?;
            // All that was due may have been expired or damaged; what lies behind it is not to wait for that.
            if !deliveries.is_empty() || self.channel.strong_count() == 0 {
                return Ok(deliveries);
            }
            if self.changes.ended >= ENDED_MAX {
                self.is_behind = true;
                return Ok(deliveries);
            }
        }
    }

    /// Whose turn it is in a queue. Of the messages that a process ended with, one is in flight at a time in the whole
    /// file: two would share the blame for the next end of the process.
    fn turn(&self, queue: i64) -> Outcome<Turn> {
        let in_flight = self.in_flight.get(&queue).copied().unwrap_or_default();
        if in_flight.alone {
            return Ok(Turn::Nobody);
        }
        let elsewhere = self.in_flight.values().any(|in_flight| in_flight.alone);
        if elsewhere || self.due(queue, ALONE, 1)?.is_empty() {
            return Ok(Turn::All);
        }
        // What is in flight ends first; until then nothing new begins, or the turn would never come.
        Ok(if in_flight.count > 0 { Turn::Nobody } else { Turn::Suspect })
    }

    fn due(&self, queue: i64, status: i64, max: usize) -> Outcome<Vec<Due>> {
        // The status is written out so that the partial index for it is used.
        let sql = format!(
            "SELECT message, deliveries, failures, expires_at FROM state \
             WHERE queue = ?1 AND status = {status} AND due <= ?2 ORDER BY due, message LIMIT ?3"
        );
        let mut find = self.connection.prepare_cached(&sql)?;
        let rows = find.query_map((queue, self.now.0 as i64, max as i64), |row| {
            Ok(Due { message: row.get(0)?, deliveries: row.get(1)?, failures: row.get(2)?, expires_at: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn lease_all(&mut self, queue: i64, due: Vec<Due>, lasts: Duration, alone: bool) -> Outcome<Vec<Delivery>> {
        let mut deliveries = Vec::with_capacity(due.len());
        let mut bytes = 0;
        if due.is_empty() {
            return Ok(deliveries);
        }
        let name: Arc<str> = self.queue_name(queue)?.into();
        for due in due {
            if due.expires_at.is_some_and(|expires_at| expires_at <= self.now.0 as i64) {
                self.expire(queue, due.message)?;
                continue;
            }
            let Some(stored) = stored(&self.connection, due.message)? else {
                self.bury_damaged(queue, due.message)?;
                continue;
            };
            if !stored.intact {
                self.bury_damaged(queue, due.message)?;
                continue;
            }
            bytes += stored.body.len();
            if bytes > PULL_BYTES_MAX && !deliveries.is_empty() {
                break;
            }
            deliveries.extend(self.lease_one(queue, &name, due, stored, lasts, alone)?);
        }
        Ok(deliveries)
    }

    fn lease_one(
        &mut self,
        queue: i64,
        name: &Arc<str>,
        due: Due,
        stored: Stored,
        lasts: Duration,
        alone: bool,
    ) -> Outcome<Option<Delivery>> {
        let Some(channel) = self.channel.upgrade() else { return Ok(None) };
        let sql = "UPDATE state SET status = ?3, due = ?4, deliveries = deliveries + ?6, epoch = ?5 \
                   WHERE queue = ?1 AND message = ?2";
        let counted = i64::from(!is_broken(Break::CountAtFailure));
        let values = (queue, due.message, LEASED, self.now.0 as i64, self.epoch, counted);
        self.connection.prepare_cached(sql)?.execute(values)?;
        self.next_token += 1;
        let (token, now) = (self.next_token, self.now);
        let hold = Arc::new(Hold::new(token, Arc::clone(name), stored.id.as_str().into(), lasts, now));
        let in_flight = self.in_flight.entry(queue).or_default();
        in_flight.count += 1;
        in_flight.alone |= alone;
        self.deadlines.insert((now.after(lasts), token));
        let leased = Leased { hold: Arc::clone(&hold), queue, message: due.message, since: now, alone };
        self.changes.begun.push((token, leased));
        Ok(Some(Delivery {
            id: stored.id,
            topic: stored.topic,
            attributes: stored.attributes,
            body: stored.body,
            deliveries: due.deliveries.saturating_add(1),
            failures: due.failures,
            hops: stored.hops,
            key: stored.key,
            published_at: stored.published_at,
            lease: Box::new(SqliteLease::new(hold, channel)),
        }))
    }

    fn bury_damaged(&mut self, queue: i64, message: i64) -> Outcome<()> {
        let error = format!("message number {message} of the queue file was damaged");
        tracing::error!(
            path = %self.path().display(), queue = %self.queue_name(queue)?, id = self.message_id(message), number = message,
            "stored message is damaged; moving it to the dead letters"
        );
        self.changes.ended += 1;
        self.bury(queue, message, &Evidence::by_host(Reason::HostFault, error))
    }
}
