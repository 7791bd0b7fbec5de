//! Acknowledgements that are answered at once: they are gathered, and stored together.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use wasmpost_delivery::BrokerError;
use wasmpost_msg::chain;

use crate::lease::Hold;

/// The most acknowledgements that may be answered and not stored yet.
const ACKS_MAX: usize = 4096;
/// The number of gathered acknowledgements from which they are stored at once.
const ACKS_GATHERED: usize = 1024;
/// How long to wait before acknowledgements that could not be stored are tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// A lease that was acknowledged.
pub(crate) struct Ack {
    pub(crate) hold: Arc<Hold>,
    _room: OwnedSemaphorePermit,
}

/// Acknowledgements to be stored.
pub(crate) struct Acks {
    state: Mutex<State>,
    room: Arc<Semaphore>,
    flush: Duration,
}

#[derive(Default)]
struct State {
    list: Vec<Ack>,
    /// The time at which the first of them came.
    since: Option<Instant>,
    is_urgent: bool,
    /// The time before which they are not tried again.
    held_up: Option<Instant>,
    is_closed: bool,
}

/// The result of gathering an acknowledgement.
pub(crate) struct Gathered {
    /// Whether the writer is to be woken.
    pub(crate) wakes: bool,
}

/// The error of an acknowledgement that came after the last was taken.
pub(crate) struct Closed;

impl Ack {
    pub(crate) fn new(hold: Arc<Hold>, room: OwnedSemaphorePermit) -> Self {
        Self { hold, _room: room }
    }

    /// Logs that it was not stored.
    pub(crate) fn refused(&self, error: &BrokerError) {
        let Hold { queue, id, .. } = &*self.hold;
        tracing::error!(%queue, %id, error = %chain(error), "not settled; will be redelivered");
    }
}

impl Acks {
    /// Gathers them for at most `flush`; not at all if that is zero.
    pub(crate) fn new(flush: Duration) -> Self {
        Self { state: Mutex::default(), room: Arc::new(Semaphore::new(ACKS_MAX)), flush }
    }

    /// Whether an acknowledgement is answered before it is stored.
    pub(crate) fn gathers(&self) -> bool {
        !self.flush.is_zero()
    }

    /// How long an answered settlement may wait for the disk.
    pub(crate) fn flush(&self) -> Duration {
        self.flush
    }

    /// Waits for a place for one more.
    pub(crate) async fn room(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        Arc::clone(&self.room).acquire_owned().await
    }

    /// Takes no more, and lets nobody wait for a place any more.
    pub(crate) fn end(&self) {
        self.state.lock().is_closed = true;
        self.room.close();
    }

    pub(crate) fn gather(&self, ack: Ack) -> Result<Gathered, Closed> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(Closed);
        }
        let is_first = state.list.is_empty();
        let was_urgent = state.is_urgent;
        // Messages that wait behind it for its key must not wait longer.
        state.is_urgent |= ack.hold.has_key || state.list.len() + 1 >= ACKS_GATHERED;
        if is_first {
            state.since = Some(Instant::now());
        }
        state.list.push(ack);
        Ok(Gathered { wakes: is_first || state.is_urgent && !was_urgent })
    }

    /// How much longer they may wait; `None` if there are none.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let state = self.state.lock();
        let wait = self.flush.saturating_sub(state.since?.elapsed());
        let wait = if state.is_urgent { Duration::ZERO } else { wait };
        Some(state.held_up.map_or(wait, |until| wait.max(until.saturating_duration_since(Instant::now()))))
    }

    /// Takes those that are to be stored now.
    pub(crate) fn take(&self) -> Vec<Ack> {
        let mut state = self.state.lock();
        if state.held_up.is_some_and(|until| Instant::now() < until) {
            return Vec::new();
        }
        let is_closed = state.is_closed;
        std::mem::replace(&mut *state, State { is_closed, ..State::default() }).list
    }

    /// Takes all of them for the last time. Later ones are refused.
    pub(crate) fn take_last(&self) -> Vec<Ack> {
        let closed = State { is_closed: true, ..State::default() };
        std::mem::replace(&mut *self.state.lock(), closed).list
    }

    /// Takes back those that could not be stored, to be tried again. Returns them all if they cannot be tried again.
    pub(crate) fn keep(&self, acks: Vec<Ack>) -> Result<(), Vec<Ack>> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(acks);
        }
        if acks.is_empty() {
            return Ok(());
        }
        acks.iter().for_each(|ack| ack.hold.settle_later());
        let now = Instant::now();
        state.since = Some(now);
        state.held_up = Some(now + AGAIN);
        state.list.splice(0..0, acks);
        Ok(())
    }
}
