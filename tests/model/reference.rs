//! The model: a queue as plain data, with no thought of speed, threads or disks.

use wasmpost_delivery::QueueStats;

/// The number of a message, in publish order.
pub(crate) type Id = usize;

/// How long a lease lasts, in seconds, as queues have it by default.
const LEASE: u64 = 30;
/// How long an id is known, in seconds.
const WINDOW: u64 = 600;
/// How often a process may end while it has a message.
const CRASHES_MAX: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    /// Not to be delivered before.
    Waiting(u64),
    /// Until.
    Leased(u64),
    Acked,
    Dead,
    Expired,
    Purged,
}

#[derive(Debug, Clone)]
struct Message {
    key: Option<u8>,
    published_at: u64,
    expires_at: Option<u64>,
    place: Place,
    deliveries: u32,
    failures: u32,
    crashes: u32,
}

/// A queue.
#[derive(Debug)]
pub(crate) struct Model {
    messages: Vec<Message>,
    /// Seconds since the start.
    now: u64,
    forwarded: u64,
}

impl Message {
    fn is_waiting(&self) -> bool {
        matches!(self.place, Place::Waiting(_))
    }

    fn is_leased(&self) -> bool {
        matches!(self.place, Place::Leased(_))
    }

    fn is_in_queue(&self) -> bool {
        self.is_waiting() || self.is_leased()
    }
}

impl Model {
    pub(crate) fn new() -> Self {
        Self { messages: Vec::new(), now: 0, forwarded: 0 }
    }

    pub(crate) fn publish(&mut self, key: Option<u8>, delay: u64, ttl: Option<u64>) -> Id {
        self.messages.push(Message {
            key,
            published_at: self.now,
            expires_at: ttl.map(|ttl| self.now + ttl),
            place: Place::Waiting(self.now + delay),
            deliveries: 0,
            failures: 0,
            crashes: 0,
        });
        self.messages.len() - 1
    }

    /// Publishes a message again that was published within the window, and says whether its id is known. One that was
    /// purged is as if it had never been.
    pub(crate) fn publish_again(&mut self, number: usize) -> Option<(Id, bool)> {
        let id = number % self.messages.len().max(1);
        let now = self.now;
        let message = self.messages.get_mut(id).filter(|message| now - message.published_at < WINDOW)?;
        let is_known = message.place != Place::Purged;
        if !is_known {
            let place = Place::Waiting(now);
            let published_at = now;
            let key = None;
            let expires_at = None;
            *message = Message { key, published_at, expires_at, place, deliveries: 0, failures: 0, crashes: 0 };
        }
        Some((id, is_known))
    }

    /// The messages that may be delivered now, the first due first.
    pub(crate) fn deliverable(&self) -> Vec<Id> {
        let in_flight = self.messages.iter().filter(|message| message.is_leased());
        let mut due: Vec<_> = (0..self.messages.len()).filter(|id| self.is_due(*id)).collect();
        due.sort_by_key(|id| (self.due(*id), *id));
        // A message that a process ended with is delivered alone.
        let alone: Vec<_> = due.iter().copied().filter(|id| self.messages[*id].crashes > 0).collect();
        if in_flight.clone().any(|message| message.crashes > 0) {
            return Vec::new();
        }
        if alone.is_empty() {
            return due;
        }
        if in_flight.count() > 0 { Vec::new() } else { alone[..1].to_vec() }
    }

    /// From when on a message may be delivered.
    pub(crate) fn due(&self, id: Id) -> Option<u64> {
        match self.messages[id].place {
            Place::Waiting(due) => Some(due),
            _ => None,
        }
    }

    fn is_due(&self, id: Id) -> bool {
        let message = &self.messages[id];
        let Place::Waiting(due) = message.place else { return false };
        let is_first = message.key.is_none_or(|key| {
            let mut same = self.messages.iter().filter(|other| other.key == Some(key) && other.is_in_queue());
            same.next().is_some_and(|first| std::ptr::eq(first, message))
        });
        due <= self.now && is_first
    }

    /// Leases a message and tells its deliveries, this one included, and its failures.
    pub(crate) fn lease(&mut self, id: Id) -> (u32, u32) {
        let until = self.now + LEASE;
        let message = &mut self.messages[id];
        message.place = Place::Leased(until);
        message.deliveries += 1;
        (message.deliveries, message.failures)
    }

    pub(crate) fn renew(&mut self, id: Id) {
        self.messages[id].place = Place::Leased(self.now + LEASE);
    }

    pub(crate) fn ack(&mut self, id: Id, publishes: bool) {
        self.messages[id].place = Place::Acked;
        self.forwarded += u64::from(publishes);
    }

    pub(crate) fn put_back(&mut self, id: Id, delay: u64, counted: bool) {
        let due = self.now + delay;
        let message = &mut self.messages[id];
        message.place = Place::Waiting(due);
        message.failures += u32::from(counted);
        self.expire();
    }

    pub(crate) fn bury(&mut self, id: Id) {
        self.messages[id].place = Place::Dead;
    }

    /// Lets time pass and tells which leases lapsed.
    pub(crate) fn advance(&mut self, seconds: u64) -> Vec<Id> {
        self.now += seconds;
        let lapsed: Vec<_> = (0..self.messages.len())
            .filter(|id| matches!(self.messages[*id].place, Place::Leased(until) if until <= self.now))
            .collect();
        lapsed.iter().for_each(|id| self.put_back(*id, 0, true));
        self.expire();
        lapsed
    }

    fn expire(&mut self) {
        for message in self.messages.iter_mut().filter(|message| message.is_waiting()) {
            if message.expires_at.is_some_and(|expires_at| expires_at <= self.now) {
                message.place = Place::Expired;
            }
        }
    }

    pub(crate) fn dead_without_key(&self) -> Vec<Id> {
        let is_meant = |message: &Message| message.place == Place::Dead && message.key.is_none();
        (0..self.messages.len()).filter(|id| is_meant(&self.messages[*id])).collect()
    }

    /// Puts back the dead letters without a key.
    pub(crate) fn redrive(&mut self) -> u64 {
        let ids = self.dead_without_key();
        for id in &ids {
            let message = &mut self.messages[*id];
            message.place = Place::Waiting(self.now);
            (message.failures, message.crashes, message.expires_at) = (0, 0, None);
        }
        ids.len() as u64
    }

    pub(crate) fn purge(&mut self) -> u64 {
        let dead = self.messages.iter_mut().filter(|message| message.place == Place::Dead);
        dead.map(|message| message.place = Place::Purged).count() as u64
    }

    /// Puts back the messages in flight. If the process was killed, that counts, and too many crashes make a dead
    /// letter.
    pub(crate) fn reopen(&mut self, crash: bool) {
        let in_flight: Vec<_> = (0..self.messages.len()).filter(|id| self.messages[*id].is_leased()).collect();
        for id in in_flight {
            if crash {
                self.messages[id].crashes += 1;
            }
            if self.messages[id].crashes >= CRASHES_MAX {
                self.bury(id);
            } else {
                self.put_back(id, 0, crash);
            }
        }
    }

    pub(crate) fn stats(&self) -> QueueStats {
        let count = |of: &dyn Fn(&Message) -> bool| self.messages.iter().filter(|message| of(message)).count() as u64;
        QueueStats {
            queue: "work".into(),
            ready: count(&|message| matches!(message.place, Place::Waiting(due) if due <= self.now)),
            delayed: count(&|message| matches!(message.place, Place::Waiting(due) if due > self.now)),
            leased: count(&Message::is_leased),
            dead: count(&|message| message.place == Place::Dead),
            oldest: None,
            acked: count(&|message| message.place == Place::Acked),
            expired: count(&|message| message.place == Place::Expired),
            ..QueueStats::default()
        }
    }

    pub(crate) fn forwarded(&self) -> u64 {
        self.forwarded
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.messages.iter().any(Message::is_waiting)
    }
}
