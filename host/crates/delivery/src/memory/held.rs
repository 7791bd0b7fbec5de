//! One queue in memory: its entries, by due time, key and lease.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use wasmpost_msg::{Publication, Reason};

use super::state::Signals;
use crate::broker::QueueStats;
use crate::dead_letter::{Attempt, AttemptVerdict, DeadLetter, Evidence};
use crate::prove::{Break, is_broken};
use crate::timestamp::Timestamp;

#[derive(Default)]
pub(super) struct Held {
    pub(super) declared: bool,
    pub(super) entries: BTreeMap<u64, Entry>,
    /// Entries that may be leased from their due time on, by that time.
    pub(super) due: BTreeSet<(Timestamp, u64)>,
    /// Entries of each ordering key. Only the first may be leased.
    pub(super) keys: HashMap<String, BTreeSet<u64>>,
    /// Entries that expire, by that time, but those in flight.
    pub(super) expiring: BTreeSet<(Timestamp, u64)>,
    /// Leased entries by deadline.
    pub(super) deadlines: BTreeSet<(Timestamp, u64)>,
    pub(super) dead: BTreeMap<u64, Grave>,
    pub(super) acked: u64,
    pub(super) expired: u64,
    pub(super) signals: Signals,
}

/// A dead letter, and the number of its message.
pub(super) struct Grave {
    pub(super) message: u64,
    pub(super) letter: DeadLetter,
}

#[derive(Clone)]
pub(super) struct Entry {
    /// The number of the message, which several queues may have.
    pub(super) message: u64,
    pub(super) publication: Arc<Publication>,
    pub(super) id: Arc<str>,
    pub(super) published_at: Timestamp,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) due: Timestamp,
    pub(super) deliveries: u32,
    pub(super) failures: u32,
    pub(super) history: Vec<Attempt>,
    pub(super) lease: Option<Leased>,
}

#[derive(Clone, Copy)]
pub(super) struct Leased {
    pub(super) token: u64,
    pub(super) since: Timestamp,
    pub(super) deadline: Timestamp,
}

impl Held {
    /// Adds an entry; behind others with its key it waits until they have ended.
    pub(super) fn insert(&mut self, number: u64, entry: Entry) {
        let first = match &entry.publication.key {
            None => true,
            Some(key) => {
                let same = self.keys.entry(key.clone()).or_default();
                same.insert(number);
                same.first() == Some(&number)
            }
        };
        if first {
            self.due.insert((entry.due, number));
            self.signals.ready.notify_one();
        }
        self.expiring.extend(entry.expires_at.map(|expires_at| (expires_at, number)));
        self.entries.insert(number, entry);
    }

    /// Removes an entry and makes room for the next with its key.
    pub(super) fn end(&mut self, number: u64) -> Option<Entry> {
        let entry = self.entries.remove(&number)?;
        match entry.lease {
            Some(lease) => self.deadlines.remove(&(lease.deadline, number)),
            None => self.due.remove(&(entry.due, number)),
        };
        if let Some(expires_at) = entry.expires_at {
            self.expiring.remove(&(expires_at, number));
        }
        if let Some(key) = &entry.publication.key
            && let Some(same) = self.keys.get_mut(key)
        {
            let was_first = same.first() == Some(&number);
            same.remove(&number);
            // One that waited behind another, and expired, makes nothing ready.
            match same.first().and_then(|next| Some((self.entries.get(next)?.due, *next))) {
                Some(next) if was_first => {
                    self.due.insert(next);
                    self.signals.ready.notify_one();
                }
                Some(_) => {}
                None => drop(self.keys.remove(key)),
            }
        }
        if self.entries.is_empty() {
            self.signals.drained.notify_waiters();
        }
        Some(entry)
    }

    pub(super) fn put_back(&mut self, number: u64, due: Timestamp, attempt: Option<Attempt>) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        if let Some(lease) = entry.lease.take() {
            self.deadlines.remove(&(lease.deadline, number));
        }
        if let Some(attempt) = attempt {
            entry.failures += 1;
            entry.deliveries += u32::from(is_broken(Break::CountAtFailure));
            attempt.add_to(&mut entry.history);
        }
        entry.due = due;
        self.expiring.extend(entry.expires_at.map(|expires_at| (expires_at, number)));
        self.due.insert((due, number));
        self.signals.ready.notify_one();
    }

    /// Puts back what was leased for too long, counting a failure, and ends what has expired, which it returns.
    pub(super) fn lapse(&mut self, now: Timestamp) -> Vec<Entry> {
        while let Some((_, number)) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= now) {
            let lapsed = self.entries.get(&number).and_then(|entry| Some((entry.lease?.since, entry.deliveries)));
            let attempt = lapsed.map(|(since, deliveries)| Attempt::lapsed(deliveries, since, now));
            self.put_back(number, now, attempt);
        }
        let expired: Vec<_> = self.expiring.range(..=(now, u64::MAX)).map(|(_, number)| *number).collect();
        self.expired += expired.len() as u64;
        expired.into_iter().filter_map(|number| self.end(number)).collect()
    }

    pub(super) fn stats(&mut self, name: &str, now: Timestamp) -> QueueStats {
        let mut stats =
            QueueStats { queue: name.to_owned(), acked: self.acked, expired: self.expired, ..Default::default() };
        stats.dead = self.dead.len() as u64;
        stats.oldest_due = self.due.first().map(|(due, _)| *due).filter(|due| *due <= now);
        for entry in self.entries.values() {
            match entry.lease {
                Some(_) => stats.leased += 1,
                None if entry.due > now => stats.delayed += 1,
                None => stats.ready += 1,
            }
            stats.oldest = Some(stats.oldest.map_or(entry.published_at, |oldest| oldest.min(entry.published_at)));
        }
        stats
    }
}

impl Entry {
    pub(super) fn into_grave(self, queue: &str, evidence: Evidence, now: Timestamp) -> Grave {
        let mut attempts = self.history;
        if let Some(attempt) = evidence.attempt.clone() {
            attempt.add_to(&mut attempts);
        }
        let letter = DeadLetter {
            id: self.id.to_string(),
            queue: queue.to_owned(),
            topic: self.publication.topic.clone(),
            attributes: self.publication.attributes.clone(),
            body: self.publication.body.clone(),
            key: self.publication.key.clone(),
            hops: self.publication.hops,
            deliveries: self.deliveries,
            published_at: self.published_at,
            dead_at: now,
            evidence,
            attempts,
        };
        Grave { message: self.message, letter }
    }

    pub(super) fn redriven(Grave { message, letter }: Grave, now: Timestamp) -> Self {
        let DeadLetter { id, topic, attributes, body, key, hops, deliveries, published_at, attempts, .. } = letter;
        let publication = Publication { topic, attributes, body, key, hops, ..Publication::default() };
        Self {
            message,
            publication: Arc::new(publication),
            id: id.into(),
            published_at,
            expires_at: None,
            due: now,
            deliveries,
            failures: 0,
            history: attempts,
            lease: None,
        }
    }
}

impl Attempt {
    /// The attempt number `number`, whose lease lapsed at `now`.
    pub fn lapsed(number: u32, since: Timestamp, now: Timestamp) -> Self {
        Self {
            number,
            started_at: since,
            duration: now.since(since),
            verdict: AttemptVerdict::Nack,
            delay: Some(Duration::ZERO),
            reason: Reason::LeaseExpired,
            error: "lease was not renewed in time".into(),
        }
    }
}
