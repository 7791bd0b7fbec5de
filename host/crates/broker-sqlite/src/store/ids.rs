//! Remembers the ids that publishers gave, for a time and up to a number.

use std::time::Duration;

use rusqlite::Connection;
use wasmpost_delivery::{ForgottenIds, Timestamp};

use super::Store;
use crate::error::Outcome;

/// The stored size of a hash, in bytes.
const HASH_BYTES: usize = 16;
/// The old ids that are checked after a publication; more if it added more than half as many.
const LOOKED_AT: usize = 64;
/// The most old ids that are forgotten in an idle moment.
const FORGOTTEN_IDLE: usize = 2048;
/// How often old ids are looked for while nothing is published.
const LOOKED_FOR_EVERY: Duration = Duration::from_secs(60);

/// The ids in the file, counted.
pub(super) struct Ids {
    pub(super) window: Duration,
    max: usize,
    count: i64,
    /// The time before which no id can be forgotten, as far as is known.
    until: Timestamp,
    /// The last time at which an idle moment was used to look for old ids.
    looked: Timestamp,
    forgotten: ForgottenIds,
}

/// The change of the number of ids in a group.
#[derive(Default)]
pub(super) struct IdChanges {
    added: i64,
    forgotten_early: u64,
}

/// The stored hash of an id on a topic.
pub(crate) fn hash_of(topic: &str, id: &str) -> [u8; HASH_BYTES] {
    let mut hash = [0; HASH_BYTES];
    // Names of topics have no line feeds.
    let mut hasher = blake3::Hasher::new();
    hasher.update(topic.as_bytes()).update(b"\n").update(id.as_bytes());
    hasher.finalize_xof().fill(&mut hash);
    hash
}

impl Ids {
    pub(super) fn new(window: Duration, max: usize) -> Self {
        let start = Timestamp::default();
        Self { window, max, count: 0, until: start, looked: start, forgotten: ForgottenIds::default() }
    }

    /// Counts the ids in the file.
    pub(super) fn load(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.count = connection.query_row("SELECT count(*) FROM ids", [], |row| row.get(0))?;
        Ok(())
    }

    /// Notes that the changes of a group were committed.
    pub(super) fn keep(&mut self, changes: &IdChanges, now: Timestamp) {
        self.count += changes.added;
        self.forgotten.add(changes.forgotten_early, self.max, now);
    }
}

impl Store {
    /// Remembers an id. Returns whether it is new.
    pub(super) fn first_seen(&mut self, topic: &str, id: &str) -> Outcome<bool> {
        let hash = hash_of(topic, id);
        let until = self.now.after(self.ids.window).0 as i64;
        let add = "INSERT OR IGNORE INTO ids (hash, expires_at) VALUES (?1, ?2)";
        if self.connection.prepare_cached(add)?.execute((hash, until))? == 1 {
            self.changes.ids.added += 1;
            return Ok(true);
        }
        let renew = "UPDATE ids SET expires_at = ?2 WHERE hash = ?1 AND expires_at <= ?3";
        let renewed = self.connection.prepare_cached(renew)?.execute((hash, until, self.now.0 as i64))?;
        Ok(renewed == 1)
    }

    /// Forgets some of the ids whose time is over, and the oldest of too many.
    pub(super) fn forget_ids(&mut self, published: usize) -> Outcome<()> {
        let count = self.ids.count + self.changes.ids.added;
        let mut surplus = usize::try_from(count).unwrap_or(0).saturating_sub(self.ids.max);
        if surplus == 0 && self.now < self.ids.until {
            return Ok(());
        }
        let sql = "SELECT hash, expires_at FROM ids ORDER BY expires_at LIMIT ?1";
        let oldest: Vec<([u8; HASH_BYTES], i64)> = {
            let mut find = self.connection.prepare_cached(sql)?;
            let rows = find.query_map([LOOKED_AT.max(2 * published) as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<Result<_, _>>()?
        };
        // Ids of later publications are remembered at least until then.
        self.ids.until = self.now.after(self.ids.window);
        for (hash, expires_at) in oldest {
            self.ids.until = Timestamp(expires_at as u64);
            if self.now < self.ids.until {
                if surplus == 0 {
                    break;
                }
                self.changes.ids.forgotten_early += 1;
            }
            self.connection.prepare_cached("DELETE FROM ids WHERE hash = ?1")?.execute([hash])?;
            self.changes.ids.added -= 1;
            surplus = surplus.saturating_sub(1);
        }
        Ok(())
    }

    /// Forgets the id of a message that was published at a time, unless a later message has it too.
    pub(super) fn forget_id(&mut self, topic: &str, id: &str, published_at: Timestamp) -> Outcome<()> {
        let until = published_at.after(self.ids.window).0 as i64;
        let sql = "DELETE FROM ids WHERE hash = ?1 AND expires_at <= ?2";
        let forgotten = self.connection.prepare_cached(sql)?.execute((hash_of(topic, id), until))?;
        self.changes.ids.added -= forgotten as i64;
        Ok(())
    }

    /// When to look for old ids next, if nothing else happens before.
    pub(crate) fn ids_next(&self) -> Option<Timestamp> {
        (self.ids.count > 0).then(|| self.ids.until.max(self.ids.looked.after(LOOKED_FOR_EVERY)))
    }

    /// Forgets some of the ids whose time is over, outside of a group. Returns whether there are more.
    pub(super) fn forget_ids_idle(&mut self, now: Timestamp) -> rusqlite::Result<bool> {
        let sql = "DELETE FROM ids WHERE hash IN (SELECT hash FROM ids WHERE expires_at <= ?1 \
                   ORDER BY expires_at LIMIT ?2)";
        let forgotten = self.connection.prepare_cached(sql)?.execute((now.0 as i64, FORGOTTEN_IDLE as i64))?;
        self.ids.count -= forgotten as i64;
        self.ids.looked = now;
        Ok(forgotten == FORGOTTEN_IDLE)
    }
}
