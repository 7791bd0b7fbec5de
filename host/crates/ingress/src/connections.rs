//! The connections of a listener: as many as it may have. The one that has been silent longest makes room for a new one, so
//! that slow senders cost nothing but their own connections.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The connections of a listener.
#[derive(Debug)]
pub(crate) struct Connections {
    max: usize,
    state: Mutex<State>,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    numbers: u64,
    /// Those that wait for a request, and those that read one: the longest first.
    waiting: BTreeMap<u64, CancellationToken>,
    reading: BTreeMap<u64, CancellationToken>,
}

/// A connection's place among the others, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    all: Arc<Connections>,
    /// Cancelled when the connection is to be closed.
    pub(crate) leave: CancellationToken,
    now: Mutex<Now>,
}

#[derive(Debug, Clone, Copy)]
struct Now {
    phase: Phase,
    number: u64,
    since: Instant,
}

/// The work of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It waits for the head of a request.
    Waiting,
    /// It reads a body.
    Reading,
    /// Its message is being stored.
    Storing,
}

impl Connections {
    pub(crate) fn new(max: usize, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self { max, state: Mutex::default(), stop })
    }

    /// A place for a new connection, for which another one leaves if there are too many. None where all of them are about to
    /// be answered.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Place> {
        let mut state = self.state.lock();
        if state.open >= self.max {
            let (_, leaving) = state.waiting.pop_first().or_else(|| state.reading.pop_first())?;
            leaving.cancel();
        }
        state.open += 1;
        let leave = self.stop.child_token();
        let number = state.next();
        state.waiting.insert(number, leave.clone());
        let now = Mutex::new(Now { phase: Phase::Waiting, number, since: Instant::now() });
        Some(Place { all: Arc::clone(self), leave, now })
    }

    /// How many there are.
    pub(crate) fn open(&self) -> usize {
        self.state.lock().open
    }
}

impl State {
    fn next(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn remove(&mut self, number: u64) {
        self.waiting.remove(&number);
        self.reading.remove(&number);
    }
}

impl Place {
    /// Takes note of what the connection does from now on.
    pub(crate) fn set(&self, phase: Phase) {
        let mut state = self.all.state.lock();
        let mut now = self.now.lock();
        state.remove(now.number);
        let number = state.next();
        // One that was told to leave makes room only once.
        if !self.leave.is_cancelled() {
            match phase {
                Phase::Waiting => drop(state.waiting.insert(number, self.leave.clone())),
                Phase::Reading => drop(state.reading.insert(number, self.leave.clone())),
                Phase::Storing => {}
            }
        }
        *now = Now { phase, number, since: Instant::now() };
    }

    /// Its work now, and for how long it has gone on.
    pub(crate) fn phase(&self) -> (Phase, Duration) {
        let now = self.now.lock();
        (now.phase, now.since.elapsed())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.all.state.lock();
        state.remove(self.now.lock().number);
        state.open -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_one_that_waits_longest_makes_room_before_those_that_read_and_those_that_store_stay() {
        let all = Connections::new(3, CancellationToken::new());
        let places: Vec<Place> = (0..3).map(|_| all.enter().unwrap()).collect();
        places[0].set(Phase::Storing);
        places[1].set(Phase::Reading);
        let left = || places.iter().map(|place| place.leave.is_cancelled()).collect::<Vec<_>>();
        let fourth = all.enter().unwrap();
        assert_eq!(left(), [false, false, true]);
        fourth.set(Phase::Storing);
        let fifth = all.enter().unwrap();
        assert_eq!(left(), [false, true, true]);
        fifth.set(Phase::Storing);
        assert!(all.enter().is_none(), "those that are about to be answered stay");
        drop(places);
        assert_eq!(all.open(), 2);
        assert!(all.enter().is_some());
    }

    #[tokio::test]
    async fn one_that_was_answered_waits_anew_behind_the_others() {
        let all = Connections::new(2, CancellationToken::new());
        let first = all.enter().unwrap();
        let second = all.enter().unwrap();
        first.set(Phase::Reading);
        first.set(Phase::Waiting);
        let _third = all.enter().unwrap();
        assert_eq!((first.leave.is_cancelled(), second.leave.is_cancelled()), (false, true));
    }

    #[tokio::test]
    async fn all_leave_when_the_listener_stops() {
        let stop = CancellationToken::new();
        let place = Connections::new(1, stop.clone()).enter().unwrap();
        stop.cancel();
        assert!(place.leave.is_cancelled());
    }
}
