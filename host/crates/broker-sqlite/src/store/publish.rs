//! Declares queues, binds topics, and publishes.

use std::sync::Arc;

use rusqlite::OptionalExtension;
use uuid::Uuid;
use wasmpost_delivery::{QueueSpec, Receipt, Timestamp};
use wasmpost_msg::{Attributes, Publication};

use super::{ALONE, BEHIND, LEASED, READY, Store};
use crate::error::Outcome;

/// The most topics whose queues are cached.
const ROUTES_MAX: usize = 4096;
/// The stored size of a checksum, in bytes.
const CHECKSUM_BYTES: usize = 16;

/// The columns of a message that its checksum covers.
pub(super) struct Row<'a> {
    pub(super) id: &'a str,
    pub(super) topic: &'a str,
    pub(super) key: Option<&'a str>,
    pub(super) hops: u32,
    pub(super) published_at: Timestamp,
    pub(super) attributes: &'a str,
    pub(super) body: &'a [u8],
}

/// The origin of the id of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ids {
    /// Its publisher chose it: a second publication with it adds nothing.
    OfPublisher,
    /// The host made it from the source of an outbox, which is acked once.
    OfHost,
}

impl Row<'_> {
    pub(super) fn checksum(&self) -> [u8; CHECKSUM_BYTES] {
        let mut hasher = blake3::Hasher::new();
        for part in [self.id, self.topic, self.key.unwrap_or_default(), self.attributes] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        hasher.update(&u64::from(self.hops).to_le_bytes()).update(&self.published_at.0.to_le_bytes()).update(self.body);
        let mut checksum = [0; CHECKSUM_BYTES];
        hasher.finalize_xof().fill(&mut checksum);
        checksum
    }
}

impl Store {
    /// Declares a queue, replaces its bindings, and moves to it the messages that wait under its topics.
    pub(crate) fn declare(&mut self, spec: &QueueSpec) -> Outcome<i64> {
        self.routes.clear();
        self.changes.topics = true;
        let queue = self.queue_number(&spec.name)?;
        self.name_queue(queue, &spec.name);
        self.connection.prepare_cached("UPDATE queues SET declared = 1 WHERE id = ?1")?.execute([queue])?;
        self.waiting.remove(&queue);
        let mut unbind = self.connection.prepare_cached("DELETE FROM bindings WHERE queue = ?1 RETURNING topic")?;
        let left: Vec<String> = unbind.query_map([queue], |row| row.get(0))?.collect::<Result<_, _>>()?;
        drop(unbind);
        left.iter().for_each(|topic| self.quotas.topic_is_left(topic));
        for topic in spec.all_topics() {
            let bind = "INSERT INTO bindings (topic, queue) VALUES (?1, ?2)";
            self.connection.prepare_cached(bind)?.execute((&topic, queue))?;
            self.quotas.topic_is_taken(&topic);
            let waiting = "SELECT id FROM queues WHERE name = ?1 AND declared = 0";
            let waiting: Option<i64> =
                self.connection.prepare_cached(waiting)?.query_row([&topic], |row| row.get(0)).optional()?;
            if let Some(waiting) = waiting {
                self.connection.execute("UPDATE state SET queue = ?1 WHERE queue = ?2", (queue, waiting))?;
                self.connection.execute("UPDATE history SET queue = ?1 WHERE queue = ?2", (queue, waiting))?;
                self.connection.execute("DELETE FROM queues WHERE id = ?1", [waiting])?;
                self.waiting.remove(&waiting);
                self.queue_up_keys(queue)?;
            }
        }
        Ok(queue)
    }

    /// Restores order after messages of two queues came together: only the first of each key may be ready.
    fn queue_up_keys(&self, queue: i64) -> Outcome<()> {
        let sql = "UPDATE state SET status = ?2 WHERE queue = ?1 AND key IS NOT NULL AND status = ?3 AND \
                   EXISTS (SELECT 1 FROM state AS other WHERE other.queue = ?1 AND other.key = state.key AND \
                           (other.status IN (?4, ?5) OR other.status = ?3 AND other.message < state.message))";
        self.connection.execute(sql, (queue, BEHIND, READY, LEASED, ALONE))?;
        self.queue_up_behind_leased(queue)
    }

    /// Leases are not in the file: messages with the key of a leased one are behind it, in any order.
    fn queue_up_behind_leased(&self, queue: i64) -> Outcome<()> {
        let Some(channel) = self.channel.upgrade() else { return Ok(()) };
        for leased in channel.ahead().leases().into_iter().filter(|leased| leased.place().0 == queue) {
            let Some(key) = &leased.key else { continue };
            let sql = "UPDATE state SET status = iif(message = ?3, ?4, ?5) \
                       WHERE queue = ?1 AND key = ?2 AND status IN (?4, ?5)";
            let values = (queue, &**key, leased.place().1, READY, BEHIND);
            self.connection.prepare_cached(sql)?.execute(values)?;
        }
        Ok(())
    }

    /// Drops the messages that were read ahead for a queue that is declared, so that they are read again: others may
    /// have to come before them.
    fn name_queue(&mut self, queue: i64, name: &str) {
        let Some(channel) = self.channel.upgrade() else { return };
        channel.ahead().name(queue, name);
        for message in channel.ahead().withdraw_all(queue) {
            self.untake(queue, message);
        }
    }

    /// The queue with a name. If it has to be made, it is not declared.
    pub(super) fn queue_number(&mut self, name: &str) -> Outcome<i64> {
        let find = "SELECT id FROM queues WHERE name = ?1";
        let found = self.connection.prepare_cached(find)?.query_row([name], |row| row.get(0)).optional()?;
        if let Some(queue) = found {
            return Ok(queue);
        }
        let make = "INSERT INTO queues (name, declared) VALUES (?1, 0)";
        self.connection.prepare_cached(make)?.execute([name])?;
        let queue = self.connection.last_insert_rowid();
        self.topic_waits(queue, name);
        Ok(queue)
    }

    pub(crate) fn publish(&mut self, publications: &[Publication]) -> Outcome<Vec<Receipt>> {
        self.check_quotas(publications)?;
        let published =
            publications.iter().map(|publication| self.publish_one(publication, Ids::OfPublisher)).collect();
        self.forget_ids(publications.len())?;
        published
    }

    pub(super) fn publish_one(&mut self, publication: &Publication, ids: Ids) -> Outcome<Receipt> {
        let id = match &publication.id {
            Some(id) if ids == Ids::OfPublisher && !self.first_seen(&publication.topic, id)? => {
                return Ok(Receipt { id: id.clone(), duplicate: true });
            }
            Some(id) => id.clone(),
            None => Uuid::now_v7().to_string(),
        };
        let queues = self.queues_of(&publication.topic)?;
        let message = self.insert_message(publication, &id)?;
        self.count_message(&publication.topic, 1);
        for queue in queues.iter() {
            self.insert_state(*queue, message, publication, queues.len() > 1)?;
        }
        Ok(Receipt { id, duplicate: false })
    }

    /// The queues that take from a topic. If there are none, a queue with the topic's name keeps its messages.
    fn queues_of(&mut self, topic: &str) -> Outcome<Arc<[i64]>> {
        if let Some(queues) = self.routes.get(topic) {
            return Ok(Arc::clone(queues));
        }
        let mut find = self.connection.prepare_cached("SELECT queue FROM bindings WHERE topic = ?1")?;
        let queues: Vec<i64> = find.query_map([topic], |row| row.get(0))?.collect::<Result<_, _>>()?;
        drop(find);
        let queues = if queues.is_empty() { vec![self.queue_number(topic)?] } else { queues };
        if self.routes.len() >= ROUTES_MAX {
            self.routes.clear();
        }
        let queues: Arc<[i64]> = queues.into();
        self.routes.insert(topic.to_owned(), Arc::clone(&queues));
        Ok(queues)
    }

    fn insert_message(&mut self, publication: &Publication, id: &str) -> Outcome<i64> {
        let Publication { topic, attributes, body, key, hops, .. } = publication;
        let attributes = attributes_text(attributes);
        let key = key.as_deref();
        let published_at = self.now;
        let row = Row { id, topic, key, hops: *hops, published_at, attributes: &attributes, body };
        // No number is used twice in a run, not even that of a deleted message: it identifies leases.
        self.last_message += 1;
        let sql = "INSERT INTO messages (number, id, topic, key, hops, published_at, checksum, attributes, body) \
                   VALUES (?9, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let checksum = row.checksum();
        let number = self.last_message;
        let values = (id, topic, key, hops, published_at.0 as i64, checksum, &attributes, &body[..], number);
        self.connection.prepare_cached(sql)?.execute(values)?;
        Ok(number)
    }

    fn insert_state(&mut self, queue: i64, message: i64, publication: &Publication, shared: bool) -> Outcome<()> {
        let key = publication.key.as_deref();
        let status = self.status_behind_key(queue, key)?;
        let due = self.now.after(publication.delay).0 as i64;
        let expires_at = publication.ttl.map(|ttl| self.now.after(ttl));
        expires_at.into_iter().for_each(|expires_at| self.expires_by(expires_at));
        let expires_at = expires_at.map(|time| time.0 as i64);
        let sql = "INSERT INTO state (queue, message, status, due, expires_at, shared, key) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        self.connection.prepare_cached(sql)?.execute((queue, message, status, due, expires_at, shared, key))?;
        Ok(())
    }

    /// The status of a new message: ready, unless another message with the key is in the queue.
    pub(super) fn status_behind_key(&self, queue: i64, key: Option<&str>) -> Outcome<i64> {
        let Some(key) = key else { return Ok(READY) };
        let sql = "SELECT EXISTS (SELECT 1 FROM state WHERE queue = ?1 AND key = ?2)";
        let taken: bool = self.connection.prepare_cached(sql)?.query_row((queue, key), |row| row.get(0))?;
        Ok(if taken { BEHIND } else { READY })
    }
}

fn attributes_text(attributes: &Attributes) -> String {
    // Maps of strings to lists of strings always have a JSON text.
    serde_json::to_string(attributes).unwrap_or_default()
}
