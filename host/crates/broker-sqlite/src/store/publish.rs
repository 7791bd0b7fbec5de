//! Queues, topics, and publishing.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::OptionalExtension;
use uuid::Uuid;
use wasmpost_delivery::{QueueSpec, QueueStats, Receipt, TenantQuota, Timestamp};
use wasmpost_msg::{Attributes, Publication, tenant_of};

use super::{ALONE, BEHIND, LEASED, READY, Store};
use crate::error::{Fault, Outcome};

/// Old ids that are forgotten in one go.
const FORGOTTEN_MAX: u32 = 64;
/// Topics whose queues are kept at hand.
const ROUTES_MAX: usize = 4096;
/// How much of a checksum is stored, in bytes.
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
    /// Makes the queue, replaces its bindings, and moves to it what waits under its topics.
    pub(crate) fn declare(&mut self, spec: &QueueSpec) -> Outcome<i64> {
        self.routes.clear();
        let queue = self.queue_number(&spec.name)?;
        self.connection.prepare_cached("UPDATE queues SET declared = 1 WHERE id = ?1")?.execute([queue])?;
        self.connection.prepare_cached("DELETE FROM bindings WHERE queue = ?1")?.execute([queue])?;
        for topic in spec.all_topics() {
            let bind = "INSERT INTO bindings (topic, queue) VALUES (?1, ?2)";
            self.connection.prepare_cached(bind)?.execute((&topic, queue))?;
            let waiting = "SELECT id FROM queues WHERE name = ?1 AND declared = 0";
            let waiting: Option<i64> =
                self.connection.prepare_cached(waiting)?.query_row([&topic], |row| row.get(0)).optional()?;
            if let Some(waiting) = waiting {
                self.connection.execute("UPDATE state SET queue = ?1 WHERE queue = ?2", (queue, waiting))?;
                self.connection.execute("UPDATE history SET queue = ?1 WHERE queue = ?2", (queue, waiting))?;
                self.connection.execute("DELETE FROM queues WHERE id = ?1", [waiting])?;
                self.queue_up_keys(queue)?;
            }
        }
        Ok(queue)
    }

    /// After messages of two queues came together: only the first of each key may be ready.
    fn queue_up_keys(&self, queue: i64) -> Outcome<()> {
        let sql = "UPDATE state SET status = ?2 WHERE queue = ?1 AND key IS NOT NULL AND status = ?3 AND \
                   (message <> (SELECT min(message) FROM state AS other WHERE other.queue = ?1 AND other.key = state.key) \
                    OR EXISTS (SELECT 1 FROM state AS other WHERE other.queue = ?1 AND other.key = state.key \
                               AND other.status IN (?4, ?5)))";
        self.connection.execute(sql, (queue, BEHIND, READY, LEASED, ALONE))?;
        Ok(())
    }

    pub(super) fn queue_number(&self, name: &str) -> Outcome<i64> {
        let find = "SELECT id FROM queues WHERE name = ?1";
        let found = self.connection.prepare_cached(find)?.query_row([name], |row| row.get(0)).optional()?;
        if let Some(queue) = found {
            return Ok(queue);
        }
        let make = "INSERT INTO queues (name, declared) VALUES (?1, 0)";
        self.connection.prepare_cached(make)?.execute([name])?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Replaces the quotas of tenants, and counts what they have.
    pub(crate) fn set_quotas(&mut self, quotas: &BTreeMap<String, TenantQuota>) -> Outcome<()> {
        let mut held: Vec<(String, u64)> = Vec::new();
        if quotas.values().any(|quota| quota.messages.is_some()) {
            let sql = "SELECT topic, count(*) FROM messages WHERE topic GLOB '@*' GROUP BY topic";
            let mut count = self.connection.prepare(sql)?;
            let rows = count.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?;
            held = rows.collect::<Result<_, _>>()?;
        }
        self.quotas.set(quotas, held);
        self.changes.counted.clear();
        Ok(())
    }

    /// Refuses what the quotas of tenants do not let in.
    pub(super) fn check_quotas(&self, publications: &[Publication]) -> Outcome<()> {
        self.quotas.check(publications).map_err(Fault::Refused)
    }

    /// Takes note of a message that was added to a topic, or taken out.
    pub(super) fn count_message(&mut self, topic: &str, added: i64) {
        if tenant_of(topic).is_some() && !self.quotas.is_empty() {
            self.quotas.count(topic, added);
            self.changes.counted.push((topic.to_owned(), added));
        }
    }

    pub(crate) fn publish(&mut self, publications: &[Publication]) -> Outcome<Vec<Receipt>> {
        self.check_quotas(publications)?;
        self.forget_ids()?;
        publications.iter().map(|publication| self.publish_one(publication, true)).collect()
    }

    pub(super) fn publish_one(&mut self, publication: &Publication, deduplicate: bool) -> Outcome<Receipt> {
        let id = match &publication.id {
            Some(id) if deduplicate && !self.first_seen(&publication.topic, id)? => {
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

    /// The queues that take from a topic; where there are none, one of its own name keeps what is published.
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

    fn insert_message(&self, publication: &Publication, id: &str) -> Outcome<i64> {
        let Publication { topic, attributes, body, key, hops, .. } = publication;
        let attributes = attributes_text(attributes);
        let (key, published_at) = (key.as_deref(), self.now);
        let row = Row { id, topic, key, hops: *hops, published_at, attributes: &attributes, body };
        let sql = "INSERT INTO messages (id, topic, key, hops, published_at, checksum, attributes, body) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let values = (id, topic, key, hops, published_at.0 as i64, row.checksum(), &attributes, &body[..]);
        self.connection.prepare_cached(sql)?.execute(values)?;
        Ok(self.connection.last_insert_rowid())
    }

    fn insert_state(&self, queue: i64, message: i64, publication: &Publication, shared: bool) -> Outcome<()> {
        let key = publication.key.as_deref();
        let status = self.status_behind_key(queue, key)?;
        let due = self.now.after(publication.delay).0 as i64;
        let expires_at = publication.ttl.map(|ttl| self.now.after(ttl).0 as i64);
        let sql = "INSERT INTO state (queue, message, status, due, expires_at, shared, key) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        self.connection.prepare_cached(sql)?.execute((queue, message, status, due, expires_at, shared, key))?;
        Ok(())
    }

    /// Ready, unless another message with the key is in the queue.
    pub(super) fn status_behind_key(&self, queue: i64, key: Option<&str>) -> Outcome<i64> {
        let Some(key) = key else { return Ok(READY) };
        let sql = "SELECT EXISTS (SELECT 1 FROM state WHERE queue = ?1 AND key = ?2)";
        let taken: bool = self.connection.prepare_cached(sql)?.query_row((queue, key), |row| row.get(0))?;
        Ok(if taken { BEHIND } else { READY })
    }

    fn first_seen(&self, topic: &str, id: &str) -> Outcome<bool> {
        let sql = "INSERT INTO dedup (topic, id, expires_at) VALUES (?1, ?2, ?3) \
                   ON CONFLICT DO UPDATE SET expires_at = ?3 WHERE expires_at <= ?4";
        let until = self.now.after(self.window).0 as i64;
        let changed = self.connection.prepare_cached(sql)?.execute((topic, id, until, self.now.0 as i64))?;
        Ok(changed == 1)
    }

    /// Forgets some of the ids whose time is over, once the oldest is.
    fn forget_ids(&mut self) -> Outcome<()> {
        if self.now < self.ids_until {
            return Ok(());
        }
        let sql = "SELECT topic, id, expires_at FROM dedup ORDER BY expires_at LIMIT ?1";
        let oldest: Vec<(String, String, i64)> = {
            let mut find = self.connection.prepare_cached(sql)?;
            let rows = find.query_map([FORGOTTEN_MAX], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect::<Result<_, _>>()?
        };
        // What is published from now on is remembered at least until then.
        self.ids_until = self.now.after(self.window);
        for (topic, id, expires_at) in oldest {
            self.ids_until = Timestamp(expires_at as u64);
            if self.now < self.ids_until {
                break;
            }
            self.connection.prepare_cached("DELETE FROM dedup WHERE topic = ?1 AND id = ?2")?.execute((topic, id))?;
        }
        Ok(())
    }

    pub(crate) fn stats(&mut self) -> Outcome<Vec<QueueStats>> {
        // Each status is counted by the partial index for it, which is read instead of the table.
        let count = |status, when: &str| {
            format!("(SELECT count(*) FROM state WHERE queue = queues.id AND status = {status}{when})")
        };
        let counted = |when| [READY, BEHIND, ALONE].map(|status| count(status, when)).join(" + ");
        let (ready, delayed) = (counted(" AND due <= ?1"), counted(" AND due > ?1"));
        let leased = count(LEASED, "");
        let sql = format!(
            "SELECT name, acked, expired, {ready}, {delayed}, {leased}, \
             (SELECT count(*) FROM dead WHERE dead.queue = queues.name), \
                   (SELECT published_at FROM messages WHERE number = \
                    (SELECT min(message) FROM state WHERE queue = queues.id)) \
                   FROM queues ORDER BY name"
        );
        let mut find = self.connection.prepare_cached(&sql)?;
        let rows = find.query_map([self.now.0 as i64], |row| {
            Ok(QueueStats {
                queue: row.get(0)?,
                acked: row.get::<_, i64>(1)? as u64,
                expired: row.get::<_, i64>(2)? as u64,
                ready: row.get::<_, i64>(3)? as u64,
                delayed: row.get::<_, i64>(4)? as u64,
                leased: row.get::<_, i64>(5)? as u64,
                dead: row.get::<_, i64>(6)? as u64,
                oldest: row.get::<_, Option<i64>>(7)?.map(|time| Timestamp(time as u64)),
                ..QueueStats::default()
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn attributes_text(attributes: &Attributes) -> String {
    // Maps of strings to lists of strings always have a JSON text.
    serde_json::to_string(attributes).unwrap_or_default()
}
