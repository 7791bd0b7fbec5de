//! The state of the broker in memory, and its changes. Nothing here waits.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use uuid::Uuid;
use wasmpost_msg::Publication;

use super::MemoryOptions;
use super::held::{Entry, Grave, Held, Leased};
use super::ids::Ids;
use crate::broker::{QueueSpec, QueueStats, Receipt};
use crate::dead_letter::{DeadLetter, Evidence};
use crate::error::{BrokerError, BrokerErrorKind};
use crate::lease::Nack;
use crate::prove::{Break, is_broken};
use crate::quota::{Quotas, TenantQuota, WaitingTopics};
use crate::timestamp::Timestamp;

pub(super) struct State {
    queues: BTreeMap<String, Held>,
    /// The queues that take from a topic.
    bindings: HashMap<String, Vec<String>>,
    /// How many queues or dead letters have a message, where more than one got it.
    copies: HashMap<u64, usize>,
    ids: Ids,
    next: u64,
    bytes: usize,
    bytes_max: usize,
    quotas: Quotas,
    closed: bool,
}

/// Wakes tasks that wait for a queue.
#[derive(Clone, Default)]
pub(super) struct Signals {
    pub(super) ready: Arc<Notify>,
    pub(super) drained: Arc<Notify>,
}

/// Dead letters that are looked at in one go.
const LOOKED_AT: usize = 256;

/// A queue, and the first number in it that is still to be looked at.
pub(super) type Place = (String, u64);

/// An operation on dead letters.
pub(super) struct Taking<'a> {
    pub(super) meant: &'a (dyn Fn(&DeadLetter) -> bool + Sync),
    /// Only those with a smaller number.
    pub(super) before: u64,
    pub(super) put_back: bool,
}

/// The lease of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) queue: Arc<str>,
    pub(super) id: Arc<str>,
    pub(super) entry: u64,
    pub(super) token: u64,
}

impl State {
    pub(super) fn new(options: &MemoryOptions) -> Self {
        Self {
            queues: BTreeMap::new(),
            bindings: HashMap::new(),
            copies: HashMap::new(),
            ids: Ids::new(options.deduplication_window, options.deduplication_ids_max),
            next: 1,
            bytes: 0,
            bytes_max: options.bytes_max,
            quotas: Quotas::default(),
            closed: false,
        }
    }

    pub(super) fn closed(&self) -> bool {
        self.closed
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        self.wake_all();
    }

    pub(super) fn wake_all(&self) {
        for held in self.queues.values() {
            held.signals.ready.notify_waiters();
            held.signals.ready.notify_one();
            held.signals.drained.notify_waiters();
        }
    }

    /// Makes the queue, replaces its bindings, and moves to it what waits under its topics.
    pub(super) fn declare(&mut self, spec: &QueueSpec) -> Signals {
        if self.queues.get(&spec.name).is_some_and(|held| held.declared) {
            for (topic, queues) in &mut self.bindings {
                if queues.contains(&spec.name) {
                    queues.retain(|queue| *queue != spec.name);
                    self.quotas.topic_is_left(topic);
                }
            }
        }
        let mut moved = BTreeMap::new();
        for topic in spec.all_topics() {
            if topic != spec.name && self.queues.get(&topic).is_some_and(|held| !held.declared) {
                moved.extend(self.queues.remove(&topic).unwrap_or_default().entries);
            }
            self.quotas.topic_is_taken(&topic);
            self.bindings.entry(topic).or_default().push(spec.name.clone());
        }
        let held = self.queues.entry(spec.name.clone()).or_default();
        held.declared = true;
        for entry in moved.into_values() {
            self.next += 1;
            held.insert(self.next, entry);
        }
        held.signals.clone()
    }

    pub(super) fn set_quotas(&mut self, quotas: &BTreeMap<String, TenantQuota>) {
        self.quotas.set(quotas);
    }

    pub(super) fn waiting_topics(&self, tenant: &str) -> WaitingTopics {
        self.quotas.waiting_topics(tenant)
    }

    /// Whether the quotas of tenants let all of it in.
    pub(super) fn room(&mut self, publications: &[Publication], now: Timestamp) -> Result<(), BrokerError> {
        if self.quotas.check(publications).is_ok() {
            return Ok(());
        }
        // Expired messages make room.
        self.lapse_all(now);
        self.quotas.check(publications)
    }

    /// Takes note that a queue or a dead letter has a message no longer; says whether it was the last.
    fn is_last(&mut self, message: u64) -> bool {
        let Some(copies) = self.copies.get_mut(&message) else { return true };
        *copies = copies.saturating_sub(1);
        let is_last = *copies == 0;
        if is_last {
            self.copies.remove(&message);
        }
        is_last
    }

    /// Takes note that entries of a queue have ended.
    fn ended(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            self.bytes -= entry.publication.bytes();
            if self.is_last(entry.message) {
                self.quotas.count(&entry.publication.topic, -1);
            }
        }
    }

    /// Lets leases lapse and messages expire in a queue.
    fn lapse(&mut self, queue: &str, now: Timestamp) {
        let Some(held) = self.queues.get_mut(queue) else { return };
        let expired = held.lapse(now);
        if !held.declared && held.entries.is_empty() {
            // Nobody knows a queue that is not declared but by what is in it.
            self.queues.remove(queue);
            self.quotas.topic_is_empty(queue);
        }
        self.ended(expired);
    }

    fn lapse_all(&mut self, now: Timestamp) {
        let names: Vec<_> = self.queues.keys().cloned().collect();
        names.iter().for_each(|name| self.lapse(name, now));
    }

    pub(super) fn publish(
        &mut self,
        publications: Vec<Publication>,
        now: Timestamp,
        deduplicate: bool,
    ) -> Result<Vec<Receipt>, BrokerError> {
        self.room(&publications, now)?;
        let bytes: usize = publications.iter().map(Publication::bytes).sum();
        if self.bytes.saturating_add(bytes) > self.bytes_max {
            let context = format!("broker in memory is full: it keeps at most {} bytes", self.bytes_max);
            return Err(BrokerError::new(BrokerErrorKind::Full, context));
        }
        Ok(publications.into_iter().map(|publication| self.publish_one(publication, now, deduplicate)).collect())
    }

    fn publish_one(&mut self, mut publication: Publication, now: Timestamp, deduplicate: bool) -> Receipt {
        let given = publication.id.take();
        if let Some(id) = given.as_ref().filter(|_| deduplicate)
            && !self.ids.first_seen(&publication.topic, id, now)
        {
            return Receipt { id: id.clone(), duplicate: true };
        }
        let id: Arc<str> = given.unwrap_or_else(|| Uuid::now_v7().to_string()).into();
        let entry = Entry {
            message: self.number(),
            id: Arc::clone(&id),
            published_at: now,
            expires_at: publication.ttl.map(|ttl| now.after(ttl)),
            due: now.after(publication.delay),
            deliveries: 0,
            failures: 0,
            history: Vec::new(),
            lease: None,
            publication: Arc::new(publication),
        };
        let topic = entry.publication.topic.clone();
        self.quotas.count(&topic, 1);
        let taken = self.bindings.get(&topic).filter(|queues| !queues.is_empty()).cloned();
        let queues = taken.unwrap_or_else(|| {
            self.quotas.topic_waits(&topic);
            vec![topic]
        });
        if queues.len() > 1 {
            self.copies.insert(entry.message, queues.len());
        }
        for queue in queues {
            let number = self.number();
            self.bytes += entry.publication.bytes();
            self.queues.entry(queue).or_default().insert(number, entry.clone());
        }
        Receipt { id: id.to_string(), duplicate: false }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Leases at most `max` entries that are due, and says when to look again if there are none.
    pub(super) fn lease(
        &mut self,
        queue: &Arc<str>,
        max: usize,
        lease: Duration,
        now: Timestamp,
    ) -> (Vec<(Ticket, Entry)>, Option<Timestamp>) {
        let mut taken = Vec::new();
        self.lapse(queue, now);
        let Some(held) = self.queues.get_mut(&**queue) else { return (taken, None) };
        while taken.len() < max
            && let Some((due, number)) = held.due.first().copied().filter(|(due, _)| *due <= now)
        {
            held.due.remove(&(due, number));
            let Some(entry) = held.entries.get_mut(&number) else { continue };
            self.next += 1;
            let token = self.next;
            let count_later = u32::from(is_broken(Break::CountAtFailure));
            entry.deliveries += 1 - count_later;
            let deadline = now.after(lease);
            entry.lease = Some(Leased { token, since: now, deadline });
            // A message in flight may still succeed; it expires when it is put back.
            if let Some(expires_at) = entry.expires_at {
                held.expiring.remove(&(expires_at, number));
            }
            held.deadlines.insert((deadline, number));
            let ticket = Ticket { queue: Arc::clone(queue), id: Arc::clone(&entry.id), entry: number, token };
            taken.push((ticket, Entry { deliveries: entry.deliveries + count_later, ..entry.clone() }));
        }
        if held.due.first().is_some_and(|(due, _)| *due <= now) {
            held.signals.ready.notify_one();
        }
        let times = [held.due.first(), held.deadlines.first(), held.expiring.first()];
        (taken, times.into_iter().flatten().map(|(time, _)| *time).min())
    }

    fn leased(&mut self, ticket: &Ticket, now: Timestamp) -> Result<&mut Held, BrokerError> {
        let stale = || BrokerError::stale(&ticket.queue, &ticket.id);
        self.lapse(&ticket.queue, now);
        let held = self.queues.get_mut(&*ticket.queue).ok_or_else(stale)?;
        let lease = held.entries.get(&ticket.entry).and_then(|entry| entry.lease);
        if lease.is_none_or(|lease| lease.token != ticket.token) && !is_broken(Break::NoFencing) {
            return Err(stale());
        }
        Ok(held)
    }

    pub(super) fn renew(&mut self, ticket: &Ticket, lease: Duration, now: Timestamp) -> Result<(), BrokerError> {
        let held = self.leased(ticket, now)?;
        if let Some(leased) = held.entries.get_mut(&ticket.entry).and_then(|entry| entry.lease.as_mut()) {
            held.deadlines.remove(&(leased.deadline, ticket.entry));
            leased.deadline = now.after(lease);
            held.deadlines.insert((leased.deadline, ticket.entry));
        }
        Ok(())
    }

    pub(super) fn ack(
        &mut self,
        ticket: &Ticket,
        mut outbox: Vec<Publication>,
        now: Timestamp,
    ) -> Result<(), BrokerError> {
        if is_broken(Break::OutboxEarly) {
            self.publish(std::mem::take(&mut outbox), now, false)?;
        }
        if !outbox.is_empty() {
            self.leased(ticket, now)?;
            self.publish(outbox, now, false)?;
        }
        let held = self.leased(ticket, now)?;
        held.acked += 1;
        let ended = held.end(ticket.entry);
        self.ended(ended);
        Ok(())
    }

    pub(super) fn nack(&mut self, ticket: &Ticket, nack: Nack, now: Timestamp) -> Result<(), BrokerError> {
        self.leased(ticket, now)?.put_back(ticket.entry, now.after(nack.delay), nack.attempt);
        Ok(())
    }

    pub(super) fn reject(&mut self, ticket: &Ticket, evidence: Evidence, now: Timestamp) -> Result<(), BrokerError> {
        let held = self.leased(ticket, now)?;
        if let Some(entry) = held.end(ticket.entry) {
            held.dead.insert(ticket.entry, entry.into_grave(&ticket.queue, evidence, now));
        }
        Ok(())
    }

    pub(super) fn drained(&self, queue: &str) -> bool {
        self.queues.get(queue).is_none_or(|held| held.entries.is_empty())
    }

    pub(super) fn stats(&mut self, now: Timestamp) -> Vec<QueueStats> {
        self.lapse_all(now);
        self.queues.iter_mut().map(|(name, held)| held.stats(name, now)).collect()
    }

    pub(super) fn dead(&self) -> impl Iterator<Item = &DeadLetter> {
        let mut all: Vec<_> = self.queues.values().flat_map(|held| held.dead.values()).collect();
        all.sort_by_key(|grave| grave.letter.dead_at);
        all.into_iter().map(|grave| &grave.letter)
    }

    /// The number that the next entry gets: a dead letter of now has a smaller one, and one that is put back gets a larger.
    pub(super) fn next(&self) -> u64 {
        self.next + 1
    }

    /// Removes dead letters that are meant, and puts them back into their queues if asked. It looks at a bounded number of
    /// them from a place on, and says how many there were of those and where to go on.
    pub(super) fn take_dead(&mut self, taking: &Taking<'_>, from: Place, now: Timestamp) -> (u64, Option<Place>) {
        let (name, after) = &from;
        let mut queues = self.queues.range(name.clone()..).filter(|(_, held)| !held.dead.is_empty());
        let Some((name, held)) = queues.next() else { return (0, None) };
        let after = if *name == from.0 { *after } else { 0 };
        let seen: Vec<u64> = held.dead.range(after..taking.before).map(|(number, _)| *number).take(LOOKED_AT).collect();
        let name = name.clone();
        let mut count = 0;
        for number in &seen {
            let Some(held) = self.queues.get_mut(&name) else { break };
            if held.dead.get(number).is_none_or(|grave| !(taking.meant)(&grave.letter)) {
                continue;
            }
            let Some(grave) = held.dead.remove(number) else { continue };
            count += 1;
            if taking.put_back {
                self.next += 1;
                held.insert(self.next, Entry::redriven(grave, now));
            } else {
                self.purged(grave);
            }
        }
        let next = match seen.last() {
            Some(last) if seen.len() == LOOKED_AT => (name, last + 1),
            // The name behind this one: no name has a character before the first.
            _ => (format!("{name}\0"), 0),
        };
        (count, Some(next))
    }

    /// Ends a dead letter. The id of a message that nobody has any more may be published again.
    fn purged(&mut self, grave: Grave) {
        let Grave { message, letter } = grave;
        self.bytes -= letter.attributes.bytes() + letter.body.len();
        if self.is_last(message) {
            self.quotas.count(&letter.topic, -1);
            self.ids.forget(&letter.topic, &letter.id, letter.published_at);
        }
    }
}
