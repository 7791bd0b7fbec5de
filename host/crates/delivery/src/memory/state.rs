//! What the broker in memory holds, and how it changes. Nothing here waits.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use uuid::Uuid;
use wasmpost_msg::{Publication, qualified};

use super::held::{Entry, Held, Leased};
use crate::prove::{Break, is_broken};
use crate::quota;
use crate::{
    BrokerError, BrokerErrorKind, DeadLetter, Evidence, Nack, QueueSpec, QueueStats, Receipt, TenantQuota, Timestamp,
};

pub(super) struct State {
    queues: BTreeMap<String, Held>,
    /// Which queues take from a topic.
    bindings: HashMap<String, Vec<String>>,
    /// Until when the id of a message on a topic is remembered, and the same by time.
    seen: HashMap<(String, String), Timestamp>,
    seen_until: BTreeSet<(Timestamp, String, String)>,
    window: Duration,
    next: u64,
    bytes: usize,
    bytes_max: usize,
    quotas: BTreeMap<String, TenantQuota>,
    closed: bool,
}

/// What wakes those who wait on a queue.
#[derive(Clone, Default)]
pub(super) struct Signals {
    pub(super) ready: Arc<Notify>,
    pub(super) drained: Arc<Notify>,
}

/// Which lease of which entry is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) queue: Arc<str>,
    pub(super) id: Arc<str>,
    pub(super) entry: u64,
    pub(super) token: u64,
}

impl State {
    pub(super) fn new(bytes_max: usize, window: Duration) -> Self {
        Self {
            queues: BTreeMap::new(),
            bindings: HashMap::new(),
            seen: HashMap::new(),
            seen_until: BTreeSet::new(),
            window,
            next: 1,
            bytes: 0,
            bytes_max,
            quotas: BTreeMap::new(),
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
            self.bindings.values_mut().for_each(|queues| queues.retain(|queue| *queue != spec.name));
        }
        let mut moved = BTreeMap::new();
        for topic in spec.all_topics() {
            if topic != spec.name && self.queues.get(&topic).is_some_and(|held| !held.declared) {
                moved.extend(self.queues.remove(&topic).unwrap_or_default().entries);
            }
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

    pub(super) fn set_quotas(&mut self, quotas: BTreeMap<String, TenantQuota>) {
        self.quotas = quotas;
    }

    /// Whether the quotas of tenants let all of it in.
    pub(super) fn room(&self, publications: &[Publication]) -> Result<(), BrokerError> {
        if self.quotas.is_empty() {
            return Ok(());
        }
        for (tenant, wanted) in quota::wanted(publications) {
            let Some(max) = self.quotas.get(tenant).and_then(|quota| quota.messages) else { continue };
            let prefix = qualified(Some(tenant), "");
            let queues = self.queues.range(prefix.clone()..).take_while(|(name, _)| name.starts_with(&prefix));
            let held: u64 = queues.map(|(_, held)| (held.entries.len() + held.dead.len()) as u64).sum();
            if held + wanted > max {
                return Err(quota::full(tenant, held, max));
            }
        }
        Ok(())
    }

    pub(super) fn publish(
        &mut self,
        publications: Vec<Publication>,
        now: Timestamp,
        deduplicate: bool,
    ) -> Result<Vec<Receipt>, BrokerError> {
        self.room(&publications)?;
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
            && !self.first_seen(&publication.topic, id, now)
        {
            return Receipt { id: id.clone(), duplicate: true };
        }
        let id: Arc<str> = given.unwrap_or_else(|| Uuid::now_v7().to_string()).into();
        let entry = Entry {
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
        let queues = self.bindings.get(&topic).filter(|queues| !queues.is_empty()).cloned();
        for queue in queues.unwrap_or_else(|| vec![topic]) {
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

    fn first_seen(&mut self, topic: &str, id: &str, now: Timestamp) -> bool {
        while let Some(oldest) = self.seen_until.first().filter(|(until, ..)| *until <= now).cloned() {
            self.seen_until.remove(&oldest);
            self.seen.remove(&(oldest.1, oldest.2));
        }
        let until = now.after(self.window);
        let key = (topic.to_owned(), id.to_owned());
        if self.seen.contains_key(&key) {
            return false;
        }
        self.seen_until.insert((until, key.0.clone(), key.1.clone()));
        self.seen.insert(key, until);
        true
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
        let Some(held) = self.queues.get_mut(&**queue) else { return (taken, None) };
        self.bytes -= held.lapse(now);
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
            // What is in flight may still succeed; it expires when it is put back.
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
        let held = self.queues.get_mut(&*ticket.queue).ok_or_else(stale)?;
        self.bytes -= held.lapse(now);
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
        self.bytes -= held.end(ticket.entry).map_or(0, |entry| entry.publication.bytes());
        Ok(())
    }

    pub(super) fn nack(&mut self, ticket: &Ticket, nack: Nack, now: Timestamp) -> Result<(), BrokerError> {
        self.leased(ticket, now)?.put_back(ticket.entry, now.after(nack.delay), nack.attempt);
        Ok(())
    }

    pub(super) fn reject(&mut self, ticket: &Ticket, evidence: Evidence, now: Timestamp) -> Result<(), BrokerError> {
        let held = self.leased(ticket, now)?;
        if let Some(entry) = held.end(ticket.entry) {
            held.dead.insert(ticket.entry, entry.into_dead_letter(&ticket.queue, evidence, now));
        }
        Ok(())
    }

    pub(super) fn drained(&self, queue: &str) -> bool {
        self.queues.get(queue).is_none_or(|held| held.entries.is_empty())
    }

    pub(super) fn stats(&mut self, now: Timestamp) -> Vec<QueueStats> {
        self.bytes -= self.queues.values_mut().map(|held| held.lapse(now)).sum::<usize>();
        self.queues.iter_mut().map(|(name, held)| held.stats(name, now)).collect()
    }

    pub(super) fn dead(&self) -> impl Iterator<Item = &DeadLetter> {
        let mut all: Vec<_> = self.queues.values().flat_map(|held| held.dead.values()).collect();
        all.sort_by_key(|letter| letter.dead_at);
        all.into_iter()
    }

    /// Removes the dead letters that are meant, and puts them back into their queues if asked.
    pub(super) fn take_dead(&mut self, meant: impl Fn(&DeadLetter) -> bool, put_back: bool, now: Timestamp) -> u64 {
        let mut count = 0;
        for held in self.queues.values_mut() {
            let numbers: Vec<_> = held.dead.iter().filter(|(_, letter)| meant(letter)).map(|(n, _)| *n).collect();
            for number in numbers {
                let Some(letter) = held.dead.remove(&number) else { continue };
                count += 1;
                let entry = Entry::redriven(letter, now);
                if put_back {
                    self.next += 1;
                    held.insert(self.next, entry);
                } else {
                    self.bytes -= entry.publication.bytes();
                }
            }
        }
        count
    }
}
