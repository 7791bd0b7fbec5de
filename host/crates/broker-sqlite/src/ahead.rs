//! Messages that were read before they are pulled, and the leases. Both live only in memory: a pull writes nothing, and
//! a message that is ready here is leased without the writer.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use wasmpost_delivery::prove::{Break, is_broken};
use wasmpost_delivery::{Delivery, Timestamp};
use wasmpost_msg::Attributes;

use crate::channel::Channel;
use crate::flight::Note;
use crate::lease::{Hold, SqliteLease};

/// The most messages that are read ahead for a queue, and the most bytes of them. One message is always read, however
/// large.
pub(crate) const AHEAD_MAX: usize = 1024;
pub(crate) const AHEAD_BYTES_MAX: usize = 4 << 20;
/// The most bytes that are read ahead for all queues. Beyond it, messages are read only when they are pulled.
pub(crate) const AHEAD_BYTES_ALL_MAX: usize = 64 << 20;
/// The memory that a message takes beside its body and its attributes, about, in bytes.
pub(crate) const MESSAGE_BYTES: usize = 512;

/// A message that is due, as read from the file.
pub(crate) struct Message {
    pub(crate) number: i64,
    pub(crate) id: String,
    pub(crate) topic: String,
    pub(crate) attributes: Attributes,
    pub(crate) body: Bytes,
    pub(crate) key: Option<String>,
    pub(crate) hops: u32,
    pub(crate) published_at: Timestamp,
    /// The number of its deliveries so far.
    pub(crate) deliveries: u32,
    pub(crate) failures: u32,
    pub(crate) expires_at: Option<Timestamp>,
    /// Whether it has no more than its two rows: it is in one queue, for the first time, and no count and no other
    /// message depends on it.
    pub(crate) is_plain: bool,
    /// The time from which it may be delivered.
    pub(crate) due: Timestamp,
    /// The beginning of its checksum.
    pub(crate) mark: u64,
    /// The memory that it takes, about, in bytes.
    pub(crate) bytes: usize,
}

/// A message that is leased.
#[derive(Clone)]
pub(crate) struct Leased {
    pub(crate) hold: Arc<Hold>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) key: Option<Arc<str>>,
    pub(crate) alone: bool,
    /// The same field of the message.
    pub(crate) is_plain: bool,
}

/// The messages that were read ahead, and all leases.
#[derive(Default)]
pub(crate) struct Ahead(Mutex<State>);

#[derive(Default)]
struct State {
    queues: HashMap<i64, OfQueue>,
    leases: HashMap<u64, Leased>,
    last_token: u64,
    /// When to check leases again: none lapses before.
    look_at: Option<Timestamp>,
    /// Messages whose time to live ended while they waited here.
    expired: Vec<(i64, i64)>,
    bytes: usize,
    is_closed: bool,
}

/// The messages and leases of one queue.
#[derive(Default)]
struct OfQueue {
    name: Arc<str>,
    waiting: VecDeque<Message>,
    bytes: usize,
    /// Whether more messages may be due than were read.
    has_more: bool,
    /// Whether the writer was asked to read more.
    is_asked: bool,
    /// Whether no message is handed out, because one is leased alone, or is about to be.
    is_held: bool,
    leased: HashSet<i64>,
}

/// A request for leases.
#[derive(Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) queue: i64,
    pub(crate) max: usize,
    pub(crate) lasts: Duration,
    pub(crate) now: Timestamp,
}

/// Messages that were leased together.
#[derive(Default)]
pub(crate) struct Taken {
    leases: Vec<(Message, Arc<Hold>)>,
    /// Whether the writer has something to do now.
    pub(crate) wakes: bool,
}

impl Leased {
    /// The queue and the number of the message.
    pub(crate) fn place(&self) -> (i64, i64) {
        (self.hold.note.queue, self.hold.note.message)
    }
}

impl Taken {
    pub(crate) fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// The deliveries, whose leases are settled through `channel`.
    pub(crate) fn deliveries(self, channel: &Arc<Channel>) -> Vec<Delivery> {
        let delivery = |(message, hold): (Message, Arc<Hold>)| Delivery {
            id: message.id,
            topic: message.topic,
            attributes: message.attributes,
            body: message.body,
            deliveries: hold.note.deliveries,
            failures: message.failures,
            hops: message.hops,
            key: message.key,
            published_at: message.published_at,
            lease: Box::new(SqliteLease::new(hold, Arc::clone(channel))),
        };
        self.leases.into_iter().map(delivery).collect()
    }
}

impl Ahead {
    /// Leases messages that are ready here.
    pub(crate) fn take(&self, wish: Wish) -> Taken {
        let mut state = self.0.lock();
        let mut taken = Taken::default();
        if state.is_closed {
            return taken;
        }
        while taken.leases.len() < wish.max {
            let Some(of_queue) = state.queues.get_mut(&wish.queue).filter(|of_queue| !of_queue.is_held) else { break };
            let Some(message) = of_queue.waiting.pop_front() else { break };
            of_queue.bytes -= message.bytes;
            state.bytes -= message.bytes;
            if message.expires_at.is_some_and(|expires_at| expires_at <= wish.now) {
                state.expired.push((wish.queue, message.number));
                taken.wakes = true;
                continue;
            }
            state.lease(message, wish, false, &mut taken);
        }
        if let Some(of_queue) = state.queues.get_mut(&wish.queue)
            && of_queue.has_more
            && !of_queue.is_asked
            && of_queue.waiting.len() < AHEAD_MAX / 2
            && of_queue.bytes < AHEAD_BYTES_MAX / 2
        {
            of_queue.is_asked = true;
            taken.wakes = true;
        }
        taken
    }

    /// Leases a message that must be in flight alone.
    pub(crate) fn take_alone(&self, message: Message, wish: Wish) -> Taken {
        let mut taken = Taken::default();
        self.0.lock().lease(message, wish, true, &mut taken);
        taken
    }

    /// Sets the name of a queue, which its leases carry.
    pub(crate) fn name(&self, queue: i64, name: &str) {
        self.0.lock().queues.entry(queue).or_default().name = name.into();
    }

    /// Adds messages that were read, each at its place in the order in which they are due. `has_more` tells whether
    /// more may be due, if that is known.
    pub(crate) fn add(&self, queue: i64, messages: Vec<Message>, has_more: Option<bool>) {
        let mut state = self.0.lock();
        let bytes: usize = messages.iter().map(|message| message.bytes).sum();
        state.bytes += bytes;
        let of_queue = state.queues.entry(queue).or_default();
        of_queue.bytes += bytes;
        for message in messages {
            of_queue.insert(message);
        }
        if let Some(has_more) = has_more {
            (of_queue.has_more, of_queue.is_asked) = (has_more, false);
        }
    }

    /// How many messages wait in a queue, how many more may be read, and how many bytes those may have.
    pub(crate) fn room(&self, queue: i64) -> (usize, usize, usize) {
        let state = self.0.lock();
        let Some(of_queue) = state.queues.get(&queue) else { return (0, AHEAD_MAX, AHEAD_BYTES_MAX) };
        let waiting = of_queue.waiting.len();
        let bytes = AHEAD_BYTES_MAX.saturating_sub(of_queue.bytes);
        (waiting, AHEAD_MAX.saturating_sub(waiting), bytes.min(AHEAD_BYTES_ALL_MAX.saturating_sub(state.bytes)))
    }

    /// Notes that more messages of a queue may be due than were read.
    pub(crate) fn has_more(&self, queue: i64) {
        self.0.lock().queues.entry(queue).or_default().has_more = true;
    }

    /// The queues for which more messages are to be read.
    pub(crate) fn asked(&self) -> Vec<i64> {
        let state = self.0.lock();
        state.queues.iter().filter(|(_, of_queue)| of_queue.is_asked).map(|(queue, _)| *queue).collect()
    }

    /// Holds messages of a queue back. Returns how many are in flight.
    pub(crate) fn hold(&self, queue: i64) -> usize {
        let mut state = self.0.lock();
        let of_queue = state.queues.entry(queue).or_default();
        of_queue.is_held = true;
        of_queue.leased.len()
    }

    /// Hands messages of a queue out again.
    pub(crate) fn release(&self, queue: i64) {
        self.0.lock().queues.entry(queue).or_default().is_held = false;
    }

    /// The queue that has a message in flight alone.
    pub(crate) fn alone(&self) -> Option<i64> {
        let state = self.0.lock();
        state.leases.values().find(|leased| leased.alone).map(|leased| leased.hold.note.queue)
    }

    pub(crate) fn leased(&self, token: u64) -> Option<Leased> {
        self.0.lock().leases.get(&token).cloned()
    }

    /// Takes a message back unless it is leased. Returns false if it is.
    pub(crate) fn withdraw(&self, queue: i64, message: i64) -> bool {
        let mut state = self.0.lock();
        let Some(of_queue) = state.queues.get_mut(&queue) else { return true };
        if of_queue.leased.contains(&message) {
            return false;
        }
        let Some(place) = of_queue.waiting.iter().position(|waiting| waiting.number == message) else { return true };
        let bytes = of_queue.waiting.remove(place).map_or(0, |message| message.bytes);
        of_queue.bytes -= bytes;
        state.bytes -= bytes;
        true
    }

    pub(crate) fn is_leased(&self, queue: i64, message: i64) -> bool {
        self.0.lock().queues.get(&queue).is_some_and(|of_queue| of_queue.leased.contains(&message))
    }

    /// Takes back all messages of a queue that are not leased. Returns their numbers.
    pub(crate) fn withdraw_all(&self, queue: i64) -> Vec<i64> {
        let mut state = self.0.lock();
        let Some(of_queue) = state.queues.get_mut(&queue) else { return Vec::new() };
        let waiting = std::mem::take(&mut of_queue.waiting);
        of_queue.has_more = true;
        let bytes = std::mem::take(&mut of_queue.bytes);
        state.bytes -= bytes;
        waiting.into_iter().map(|message| message.number).collect()
    }

    /// Takes the messages whose time to live ended while they waited here; each is returned once.
    pub(crate) fn expired(&self) -> Vec<(i64, i64)> {
        std::mem::take(&mut self.0.lock().expired)
    }

    pub(crate) fn has_expired(&self) -> bool {
        !self.0.lock().expired.is_empty()
    }

    /// Ends a lease. Returns it with its place in the flight file, which is free now.
    pub(crate) fn end(&self, token: u64) -> Option<(Leased, Option<u32>)> {
        let mut state = self.0.lock();
        let is_fenced = !is_broken(Break::NoFencing);
        let leased = if is_fenced { state.leases.remove(&token)? } else { state.leases.get(&token).cloned()? };
        let (queue, message) = leased.place();
        if let Some(of_queue) = state.queues.get_mut(&queue) {
            of_queue.leased.remove(&message);
        }
        drop(state);
        let place = leased.hold.end().filter(|_| is_fenced);
        Some((leased, place))
    }

    /// Keeps a lease whose settlement was not stored: it goes on until it lapses.
    pub(crate) fn revive(&self, token: u64, now: Timestamp) {
        let mut state = self.0.lock();
        let Some(leased) = state.leases.get(&token) else { return };
        let deadline = leased.hold.revive(now);
        state.look_at = Some(state.look_at.map_or(deadline, |look_at| look_at.min(deadline)));
    }

    /// Ends the leases whose time has passed, unless they are being settled. Returns their tokens.
    pub(crate) fn lapse(&self, now: Timestamp) -> Vec<u64> {
        let mut state = self.0.lock();
        if state.look_at.is_none_or(|look_at| now < look_at) {
            return Vec::new();
        }
        let mut lapsed = Vec::new();
        let mut next = None;
        for (token, leased) in &state.leases {
            match leased.hold.lapse(now) {
                Ok(()) => lapsed.push(*token),
                Err(Some(later)) => next = Some(next.map_or(later, |next: Timestamp| next.min(later))),
                Err(None) => {}
            }
        }
        state.look_at = next;
        // In the order in which they were leased.
        lapsed.sort_unstable();
        lapsed
    }

    /// When a lease may lapse next.
    pub(crate) fn look_at(&self) -> Option<Timestamp> {
        self.0.lock().look_at
    }

    /// All leases, in the order in which they began.
    pub(crate) fn leases(&self) -> Vec<Leased> {
        let mut leases: Vec<_> = self.0.lock().leases.values().cloned().collect();
        leases.sort_unstable_by_key(|leased| leased.hold.token);
        leases
    }

    /// How many messages of each queue are in flight.
    pub(crate) fn in_flight(&self) -> HashMap<i64, usize> {
        let state = self.0.lock();
        state.queues.iter().map(|(queue, of_queue)| (*queue, of_queue.leased.len())).collect()
    }

    /// Hands out no more messages.
    pub(crate) fn close(&self) {
        self.0.lock().is_closed = true;
    }
}

impl OfQueue {
    fn insert(&mut self, message: Message) {
        let place = |message: &Message| (message.due, message.number);
        if self.waiting.back().is_none_or(|last| place(last) < place(&message)) {
            return self.waiting.push_back(message);
        }
        let before = self.waiting.partition_point(|waiting| place(waiting) < place(&message));
        self.waiting.insert(before, message);
    }
}

impl State {
    fn lease(&mut self, message: Message, wish: Wish, alone: bool, taken: &mut Taken) {
        let Wish { queue, lasts, now, .. } = wish;
        self.last_token += 1;
        let token = self.last_token;
        let deliveries = message.deliveries.saturating_add(1);
        let note = Note { queue, message: message.number, mark: message.mark, deliveries, since: now };
        let of_queue = self.queues.entry(queue).or_default();
        of_queue.leased.insert(message.number);
        let told = (Arc::clone(&of_queue.name), message.id.as_str().into());
        let hold = Arc::new(Hold::new(token, told, lasts, note, message.key.is_some()));
        let key = message.key.as_deref().map(Into::into);
        let expires_at = message.expires_at;
        let is_plain = message.is_plain;
        let leased = Leased { hold: Arc::clone(&hold), expires_at, key, alone, is_plain };
        self.leases.insert(token, leased);
        let deadline = now.after(lasts);
        if self.look_at.is_none_or(|look_at| deadline < look_at) {
            self.look_at = Some(deadline);
            taken.wakes = true;
        }
        taken.leases.push((message, hold));
    }
}
