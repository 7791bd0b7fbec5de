//! The content of the file, and the leases beside it. Everything here runs on the writer's thread, between two commits.

mod dead;
mod ids;
mod lapse;
pub(crate) mod letters;
mod publish;
mod pull;
pub(crate) mod read;
mod recover;
mod settle;
mod tenants;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use wasmpost_delivery::prove::commit_fails;
use wasmpost_delivery::{BrokerError, BrokerErrorKind, Quotas, TenantQuota, Timestamp};

use crate::ahead::Leased;
use crate::broker::SqliteOptions;
use crate::channel::Channel;
use crate::error;
use crate::error::{Failure, moved};
use crate::flight::Flight;
use crate::held::Held;
use crate::open::Opened;
pub(crate) use dead::Grave;
pub(crate) use ids::hash_of;
use ids::{IdChanges, Ids};
use pull::Over;

/// Values of the column `status`. Only earlier versions wrote `LEASED`.
pub(crate) const READY: i64 = 0;
pub(crate) const BEHIND: i64 = 1;
pub(crate) const LEASED: i64 = 2;
pub(crate) const ALONE: i64 = 3;

/// The level of `PRAGMA synchronous` at which a commit does not wait for the disk, but copying the log does.
const SYNCHRONOUS_NORMAL: i64 = 1;
/// The most unused pages that are given back to the disk in an idle moment, and when the file is closed.
const PAGES_FREED_IDLE: i64 = 256;
const PAGES_FREED_CLOSING: i64 = 64 * 1024;
/// How long after a failed group expired messages are looked for again.
const LOOKED_AGAIN: Duration = Duration::from_secs(1);

/// The file, and the leases that this process has.
pub(crate) struct Store {
    connection: Connection,
    channel: Weak<Channel>,
    /// The time of the group that is running.
    now: Timestamp,
    ids: Ids,
    crashes_max: u32,
    /// Messages of each queue that are not to be read again: they were read ahead, are leased, or are to be ended.
    taken: HashMap<i64, HashSet<i64>>,
    /// Messages that the next group ends.
    over: Vec<(i64, i64, Over)>,
    /// Lapsed leases whose messages are still to be put back.
    lapsed: Vec<u64>,
    /// Queues that may have messages that were in flight when a process ended.
    suspected: BTreeSet<i64>,
    /// How many messages of each queue became ready that were due before those that were read ahead.
    unblocked: HashMap<i64, usize>,
    /// When a message that is not leased expires next; none expires before.
    next_expiry: Option<Timestamp>,
    /// A cache of the queues of topics that were published to lately.
    routes: HashMap<String, Arc<[i64]>>,
    /// Undeclared queues, with the topics whose messages they keep.
    waiting: HashMap<i64, String>,
    /// The largest number that a message ever had.
    last_message: i64,
    /// The largest number that a dead letter ever had.
    last_grave: i64,
    changes: Changes,
    quotas: Arc<Quotas>,
    /// Dropped after the connection.
    held: Held,
}

/// The changes to leases and counts that take effect when the group is committed.
#[derive(Default)]
struct Changes {
    settled: Vec<u64>,
    /// Messages that can be read again, whether or not the group is committed.
    over: Vec<(i64, i64)>,
    acked: HashMap<i64, u64>,
    expired: HashMap<i64, u64>,
    /// The change of each tenant's number of messages.
    counted: HashMap<String, i64>,
    ids: IdChanges,
    quotas: Option<BTreeMap<String, TenantQuota>>,
    /// Whether a topic got or lost a queue.
    topics: bool,
}

impl Store {
    /// The last time that the file has stored, zero for a new file.
    pub(crate) fn last_time(opened: &Opened) -> Result<Timestamp, BrokerError> {
        let time =
            opened.connection.query_row("SELECT value FROM meta WHERE name = 'time'", [], |row| row.get::<_, i64>(0));
        let time = time.optional().map_err(|error| Failure::of(opened.held.path(), &error))?;
        Ok(Timestamp(time.map_or(0, |time| time as u64)))
    }

    /// Takes over the file: messages that the last process left in flight are put back or dead-lettered.
    pub(crate) fn open(
        opened: Opened,
        channel: &Arc<Channel>,
        options: &SqliteOptions,
        now: Timestamp,
    ) -> Result<Self, BrokerError> {
        let Opened { connection, held } = opened;
        let mut store = Self {
            connection,
            channel: Arc::downgrade(channel),
            quotas: Arc::clone(channel.quotas()),
            now,
            ids: Ids::new(options.deduplication_window, options.deduplication_ids_max),
            crashes_max: options.crashes_max.max(1),
            taken: HashMap::new(),
            over: Vec::new(),
            lapsed: Vec::new(),
            suspected: BTreeSet::new(),
            unblocked: HashMap::new(),
            next_expiry: Some(Timestamp::default()),
            routes: HashMap::new(),
            waiting: HashMap::new(),
            last_message: 0,
            last_grave: 0,
            changes: Changes::default(),
            held,
        };
        let flight_file = Flight::path(store.path());
        let run = store.take_over(&flight_file).map_err(|error| store.failure(&error))?;
        let flight = Flight::create(&flight_file, run).map_err(|error| {
            let kind = match error.kind() {
                std::io::ErrorKind::StorageFull => BrokerErrorKind::Full,
                _ => BrokerErrorKind::Unavailable,
            };
            BrokerError::new(kind, format!("flight file {} could not be made", flight_file.display())).caused_by(error)
        })?;
        channel.set_flight(flight);
        Ok(store)
    }

    /// Returns the number of this run.
    fn take_over(&mut self, flight_file: &std::path::Path) -> rusqlite::Result<u64> {
        if let Err(error) = self.ids.load(&self.connection) {
            // The rest of the file can be used.
            tracing::warn!(path = %self.path().display(), error = %error, "ids in the queue file could not be counted");
        }
        self.load_tenants()?;
        self.load_last_grave()?;
        self.last_message =
            self.connection.query_row("SELECT coalesce(max(number), 0) FROM messages", [], |row| row.get(0))?;
        self.unhurried(|store| {
            store.begin()?;
            let run = store.recover(flight_file)?;
            store.commit()?;
            store.load_suspected()?;
            Ok(run)
        })
    }

    fn load_suspected(&mut self) -> rusqlite::Result<()> {
        let sql = format!("SELECT DISTINCT queue FROM state WHERE status = {ALONE}");
        let mut find = self.connection.prepare(&sql)?;
        self.suspected = find.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Runs changes that need not be on disk when this returns: the next confirmed commit, or the end of the log,
    /// brings them there.
    fn unhurried<T>(&mut self, what: impl FnOnce(&mut Self) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let level: i64 = self.connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
        self.connection.pragma_update(None, "synchronous", level.min(SYNCHRONOUS_NORMAL))?;
        let done = what(self)?;
        self.connection.pragma_update(None, "synchronous", level)?;
        Ok(done)
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        self.held.path()
    }

    pub(crate) fn failure(&self, error: &rusqlite::Error) -> Failure {
        Failure::of(self.path(), error)
    }

    /// Begins a group at a time.
    pub(crate) fn begin_at(&mut self, now: Timestamp) -> rusqlite::Result<()> {
        self.now = now;
        self.begin()
    }

    /// Sets the time for what is read between two groups.
    pub(crate) fn set_now(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// Takes the lock for writing at once: SQLite waits for another program that has it only here, and not after a
    /// read.
    fn begin(&mut self) -> rusqlite::Result<()> {
        self.connection.execute_batch("BEGIN IMMEDIATE")
    }

    /// An error if the path of the file, or of its log, leads to another file by now: commits would be lost with the
    /// old one.
    pub(crate) fn check_place(&self) -> rusqlite::Result<()> {
        if self.held.is_in_place() { Ok(()) } else { Err(moved()) }
    }

    /// Ends the group: its changes are on disk when this returns, and then the leases follow.
    pub(crate) fn commit(&mut self) -> rusqlite::Result<()> {
        self.count()?;
        if commit_fails() {
            return Err(error::not_synchronised());
        }
        self.connection.execute_batch("COMMIT")?;
        if commit_fails() {
            return Err(error::not_synchronised());
        }
        let changes = std::mem::take(&mut self.changes);
        self.ids.keep(&changes.ids, self.now);
        if let Some(quotas) = changes.quotas {
            self.quotas.set(&quotas);
        }
        for token in changes.settled {
            self.end_lease(token);
        }
        for (queue, message) in changes.over {
            self.untake(queue, message);
        }
        self.lapsed.clear();
        Ok(())
    }

    /// Whether the group has an acknowledgement.
    pub(crate) fn has_acks(&self) -> bool {
        !self.changes.acked.is_empty()
    }

    /// Undoes the group. Leases that were to be settled go on until they lapse.
    pub(crate) fn roll_back(&mut self) {
        if !self.connection.is_autocommit() {
            // Changes that cannot be rolled back are never committed either: the next BEGIN fails and returns the
            // reason.
            drop(self.connection.execute_batch("ROLLBACK"));
        }
        let changes = std::mem::take(&mut self.changes);
        for (tenant, added) in changes.counted {
            self.quotas.count_of(&tenant, -added);
        }
        if changes.topics
            && let Err(error) = self.load_topics()
        {
            tracing::error!(path = %self.path().display(), error = %error, "topics of the queue file could not be read again");
        }
        if let Some(channel) = self.channel.upgrade() {
            let settled = changes.settled.into_iter().filter(|token| !self.lapsed.contains(token));
            settled.for_each(|token| channel.ahead().revive(token, self.now));
        }
        for (queue, message) in changes.over {
            self.untake(queue, message);
        }
        // The next time at which a message expires is looked up again soon.
        self.next_expiry = Some(self.now.after(LOOKED_AGAIN));
        // A queue that was made in this group is gone.
        self.routes.clear();
    }

    /// The number of rows that were changed since the file was opened.
    pub(crate) fn rows_changed(&self) -> u64 {
        self.connection.total_changes()
    }

    fn count(&mut self) -> rusqlite::Result<()> {
        for (column, counts) in [("acked", &self.changes.acked), ("expired", &self.changes.expired)] {
            let sql = format!("UPDATE queues SET {column} = {column} + ?2 WHERE id = ?1");
            for (queue, count) in counts {
                self.connection.prepare_cached(&sql)?.execute((queue, *count as i64))?;
            }
        }
        self.store_counts()
    }

    /// Whether there are messages that only a group can end.
    pub(crate) fn has_over(&self) -> bool {
        !self.over.is_empty() || self.channel.upgrade().is_some_and(|channel| channel.ahead().has_expired())
    }

    /// Whether there is something to write without a request.
    pub(crate) fn has_to_write(&mut self, now: Timestamp) -> bool {
        self.has_over() || self.is_late(now)
    }

    fn queue_name(&self, queue: i64) -> rusqlite::Result<String> {
        self.connection.prepare_cached("SELECT name FROM queues WHERE id = ?1")?.query_row([queue], |row| row.get(0))
    }

    /// The id of a message, to be logged; empty if it cannot be read.
    fn message_id(&self, message: i64) -> String {
        let sql = "SELECT id FROM messages WHERE number = ?1";
        let found =
            self.connection.prepare_cached(sql).and_then(|mut find| find.query_row([message], |row| row.get(0)));
        found.unwrap_or_default()
    }

    /// Whether a queue has messages, not counting dead letters.
    pub(crate) fn is_drained(&self, queue: i64) -> rusqlite::Result<bool> {
        let exists: bool = self
            .connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM state WHERE queue = ?1)")?
            .query_row([queue], |row| row.get(0))?;
        Ok(!exists)
    }

    /// The writer's connection.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Bounded work for an idle moment: forgets old ids, gives pages back to the disk, and stores the time. Returns
    /// whether there is more.
    pub(crate) fn tidy(&mut self, now: Timestamp) -> rusqlite::Result<bool> {
        let more_ids = self.forget_ids_idle(now)?;
        let more_pages = self.shrink(PAGES_FREED_IDLE)?;
        self.keep_time(now)?;
        Ok(more_ids || more_pages)
    }

    /// Gives at most `pages` unused pages back to the disk. Returns whether there are more.
    fn shrink(&self, pages: i64) -> rusqlite::Result<bool> {
        {
            let mut free = self.connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
            let mut rows = free.query([])?;
            // Each step frees one page.
            while rows.next()?.is_some() {}
        }
        let left: i64 = self.connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
        Ok(left > 0)
    }

    /// Stores the time, so that a wall clock that is set back between two runs delays no message.
    pub(crate) fn keep_time(&self, now: Timestamp) -> rusqlite::Result<()> {
        let sql = "INSERT INTO meta (name, value) VALUES ('time', ?1) ON CONFLICT DO UPDATE SET value = ?1";
        self.connection.prepare_cached(sql)?.execute([now.0 as i64]).map(drop)
    }

    /// Gives all leases back and copies everything from the log into the file.
    pub(crate) fn close(&mut self, now: Timestamp) -> rusqlite::Result<()> {
        let leases = self.last_leases();
        self.unhurried(|store| {
            store.begin_at(now)?;
            for leased in &leases {
                let (queue, message) = leased.place();
                let deliveries = leased.hold.note.deliveries;
                let sql =
                    "UPDATE state SET deliveries = max(deliveries, ?3), due = ?4 WHERE queue = ?1 AND message = ?2";
                store.connection.prepare_cached(sql)?.execute((queue, message, deliveries, now.0 as i64))?;
            }
            store.keep_time(now)?;
            // The flight file has nothing left to tell.
            store.connection.execute("DELETE FROM meta WHERE name = 'run'", [])?;
            store.commit()
        })?;
        self.abandon();
        self.check_place()?;
        let flight_file = Flight::path(self.path());
        if let Err(error) = std::fs::remove_file(&flight_file) {
            tracing::warn!(path = %flight_file.display(), error = %error, "flight file could not be removed");
        }
        self.shrink(PAGES_FREED_CLOSING)?;
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }

    /// Drops all leases without storing anything.
    pub(crate) fn abandon(&mut self) {
        for leased in self.last_leases() {
            self.end_lease(leased.hold.token);
        }
    }

    /// Takes the remaining leases; there will be no more.
    fn last_leases(&self) -> Vec<Leased> {
        let Some(channel) = self.channel.upgrade() else { return Vec::new() };
        channel.ahead().close();
        channel.ahead().leases()
    }
}
