//! The messages of tenants in the file, and their quotas. Both are stored in the file, so that they hold for every
//! process that opens it.

use std::collections::BTreeMap;
use std::collections::hash_map::Entry;

use wasmpost_delivery::TenantQuota;
use wasmpost_msg::{Publication, tenant_of};

use super::Store;
use crate::error::{Fault, Outcome};

impl Store {
    /// Loads the stored counts and quotas of tenants, and the topics.
    pub(super) fn load_tenants(&mut self) -> rusqlite::Result<()> {
        let mut find = self.connection.prepare("SELECT name, messages, messages_max, topics_max FROM tenants")?;
        let mut rows = find.query([])?;
        let mut quotas = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            let most = |max: Option<i64>| max.map(|max| u64::try_from(max).unwrap_or(0));
            self.quotas.count_of(&name, row.get(1)?);
            let quota = TenantQuota { messages: most(row.get(2)?), topics: most(row.get(3)?) };
            quotas.insert(name, quota);
        }
        self.quotas.set(&quotas);
        drop(rows);
        drop(find);
        self.load_topics()
    }

    /// Loads the topics that queues take from, and those whose messages wait for a queue.
    pub(super) fn load_topics(&mut self) -> rusqlite::Result<()> {
        self.quotas.forget_topics();
        self.waiting.clear();
        let mut find = self.connection.prepare_cached("SELECT topic FROM bindings")?;
        let mut rows = find.query([])?;
        while let Some(row) = rows.next()? {
            self.quotas.topic_is_taken(row.get_ref(0)?.as_str()?);
        }
        let mut find = self.connection.prepare_cached("SELECT id, name FROM queues WHERE declared = 0")?;
        let mut rows = find.query([])?;
        while let Some(row) = rows.next()? {
            let name: String = row.get(1)?;
            self.quotas.topic_waits(&name);
            self.waiting.insert(row.get(0)?, name);
        }
        Ok(())
    }

    /// Replaces the quotas of tenants.
    pub(crate) fn set_quotas(&mut self, quotas: &BTreeMap<String, TenantQuota>) -> Outcome<()> {
        let clear = "UPDATE tenants SET messages_max = NULL, topics_max = NULL";
        self.connection.execute(clear, [])?;
        for (name, quota) in quotas.iter().filter(|(_, quota)| quota.is_set()) {
            let sql = "INSERT INTO tenants (name, messages_max, topics_max) VALUES (?1, ?2, ?3) \
                       ON CONFLICT DO UPDATE SET messages_max = ?2, topics_max = ?3";
            let most = |max: Option<u64>| max.map(|max| i64::try_from(max).unwrap_or(i64::MAX));
            self.connection.prepare_cached(sql)?.execute((name, most(quota.messages), most(quota.topics)))?;
        }
        self.connection
            .execute("DELETE FROM tenants WHERE messages = 0 AND messages_max IS NULL AND topics_max IS NULL", [])?;
        self.changes.quotas = Some(quotas.clone());
        Ok(())
    }

    /// Refuses publications beyond the quotas of tenants.
    pub(super) fn check_quotas(&self, publications: &[Publication]) -> Outcome<()> {
        self.quotas.check(publications).map_err(Fault::Refused)
    }

    /// Counts a message that was added to a topic, or removed.
    pub(super) fn count_message(&mut self, topic: &str, added: i64) {
        let Some(tenant) = tenant_of(topic) else { return };
        self.quotas.count_of(tenant, added);
        if let Some(counted) = self.changes.counted.get_mut(tenant) {
            *counted += added;
        } else {
            self.changes.counted.insert(tenant.to_owned(), added);
        }
    }

    /// Stores the changes of tenants' numbers of messages after a group.
    pub(super) fn store_counts(&self) -> rusqlite::Result<()> {
        for (tenant, added) in self.changes.counted.iter().filter(|(_, added)| **added != 0) {
            let sql = "INSERT INTO tenants (name, messages) VALUES (?1, max(?2, 0)) \
                       ON CONFLICT DO UPDATE SET messages = max(messages + ?2, 0)";
            self.connection.prepare_cached(sql)?.execute((tenant, added))?;
            if self.quotas.held(tenant) == 0 {
                let sql = "DELETE FROM tenants \
                           WHERE name = ?1 AND messages = 0 AND messages_max IS NULL AND topics_max IS NULL";
                self.connection.prepare_cached(sql)?.execute([tenant])?;
            }
        }
        Ok(())
    }

    /// Notes that an undeclared queue keeps the messages of a topic.
    pub(super) fn topic_waits(&mut self, queue: i64, topic: &str) {
        if let Entry::Vacant(place) = self.waiting.entry(queue) {
            place.insert(topic.to_owned());
            self.quotas.topic_waits(topic);
            self.changes.topics = true;
        }
    }

    /// Forgets an undeclared queue once it is empty: only its messages made it known.
    pub(super) fn forget_if_empty(&mut self, queue: i64) -> Outcome<()> {
        let Some(topic) = self.waiting.get(&queue).cloned() else { return Ok(()) };
        if !self.is_drained(queue)? {
            return Ok(());
        }
        self.connection.prepare_cached("DELETE FROM queues WHERE id = ?1 AND declared = 0")?.execute([queue])?;
        self.waiting.remove(&queue);
        self.quotas.topic_is_empty(&topic);
        self.routes.remove(&topic);
        self.changes.expired.remove(&queue);
        self.changes.topics = true;
        Ok(())
    }
}
