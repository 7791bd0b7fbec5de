//! Acknowledgements that nobody waits for: they are gathered, and stored together.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use wasmpost_delivery::BrokerError;
use wasmpost_msg::chain;

use crate::lease::Hold;

/// How many acknowledgements may be answered and not stored at a time.
const ACKS_MAX: usize = 4096;
/// How many are gathered before they are stored whatever the time.
const ACKS_GATHERED: usize = 1024;
/// How long to wait until those are tried again that could not be stored.
const AGAIN: Duration = Duration::from_secs(1);

/// A lease that was acknowledged.
pub(crate) struct Ack {
    pub(crate) hold: Arc<Hold>,
    _room: OwnedSemaphorePermit,
}

/// Acknowledgements that are to be stored.
pub(crate) struct Acks {
    state: Mutex<State>,
    room: Arc<Semaphore>,
    flush: Duration,
}

#[derive(Default)]
struct State {
    list: Vec<Ack>,
    /// When the first of them came.
    since: Option<Instant>,
    is_urgent: bool,
    /// Until when they are not tried again.
    held_up: Option<Instant>,
    is_closed: bool,
}

/// What gathering one came to.
pub(crate) struct Gathered {
    /// Whether the writer is to look.
    pub(crate) wakes: bool,
}

/// No more are taken.
pub(crate) struct Closed;

impl Ack {
    pub(crate) fn new(hold: Arc<Hold>, room: OwnedSemaphorePermit) -> Self {
        Self { hold, _room: room }
    }

    /// Tells that it was not stored.
    pub(crate) fn refused(&self, error: &BrokerError) {
        let Hold { queue, id, .. } = &*self.hold;
        tracing::error!(%queue, %id, error = %chain(error), "not settled; will be redelivered");
    }
}

impl Acks {
    /// Gathers them for at most so long, or not at all.
    pub(crate) fn new(flush: Duration) -> Self {
        Self { state: Mutex::default(), room: Arc::new(Semaphore::new(ACKS_MAX)), flush }
    }

    /// Whether an acknowledgement is answered before it is stored.
    pub(crate) fn gathers(&self) -> bool {
        !self.flush.is_zero()
    }

    /// A place for one, waiting until there is one.
    pub(crate) async fn room(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        Arc::clone(&self.room).acquire_owned().await
    }

    /// Nobody is to wait for a place any more.
    pub(crate) fn end(&self) {
        self.state.lock().is_closed = true;
        self.room.close();
    }

    pub(crate) fn gather(&self, ack: Ack) -> Result<Gathered, Closed> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(Closed);
        }
        let (is_first, was_urgent) = (state.list.is_empty(), state.is_urgent);
        // What waits behind it for its key is not to wait longer.
        state.is_urgent |= ack.hold.has_key || state.list.len() + 1 >= ACKS_GATHERED;
        if is_first {
            state.since = Some(Instant::now());
        }
        state.list.push(ack);
        Ok(Gathered { wakes: is_first || state.is_urgent && !was_urgent })
    }

    /// How long they may wait on; none where there are none.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let state = self.state.lock();
        let wait = self.flush.saturating_sub(state.since?.elapsed());
        let wait = if state.is_urgent { Duration::ZERO } else { wait };
        Some(state.held_up.map_or(wait, |until| wait.max(until.saturating_duration_since(Instant::now()))))
    }

    /// Those that are to be stored now. Later ones are refused after the last time.
    pub(crate) fn take(&self, is_last: bool) -> Vec<Ack> {
        let mut state = self.state.lock();
        if !is_last && state.held_up.is_some_and(|until| Instant::now() < until) {
            return Vec::new();
        }
        let is_closed = state.is_closed || is_last;
        std::mem::replace(&mut *state, State { is_closed, ..State::default() }).list
    }

    /// Takes those back that could not be stored, to be tried again; all of them are returned if there is no other time.
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
        (state.since, state.held_up) = (Some(now), Some(now + AGAIN));
        state.list.splice(0..0, acks);
        Ok(())
    }
}
