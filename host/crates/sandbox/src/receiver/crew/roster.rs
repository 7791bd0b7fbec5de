//! The messages in an instance: which of them drives it, and the outcome of each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use wasmpost_msg::{Disposition, Reason, ReceiveError};

use super::ledger::Ledger;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// The messages in an instance. It is also the waker of the instance: it wakes whoever drives.
#[derive(Default)]
pub(super) struct Roster {
    seats: Mutex<Seats>,
    pub(super) ledger: Ledger,
    /// The most memory that the instance had so far, in bytes.
    pub(super) memory_peak_bytes: AtomicU64,
}

#[derive(Default)]
struct Seats {
    /// The first one drives.
    taken: BTreeMap<u32, Seat>,
    /// How many messages there were so far.
    count: u32,
    /// Whether nobody may join any more.
    is_closed: bool,
    /// Whether the instance may not be used any more.
    is_ended: bool,
}

#[derive(Default)]
struct Seat {
    waker: Option<Waker>,
    outcome: Option<Outcome>,
}

/// The outcome of one message, and the CPU time that it used.
pub(super) struct Outcome {
    pub(super) result: Result<(), ReceiveError>,
    pub(super) published_bytes: u64,
    pub(super) host_work: u64,
    pub(super) cpu: Duration,
}

/// The next step of a message in an instance.
pub(super) enum Turn {
    /// Nothing more: its message is done.
    Leave(Outcome),
    /// Poll the instance.
    Drive,
    /// Wait until it is woken.
    Wait,
}

impl Roster {
    /// Takes a place for one more message, if `concurrent` are not there yet nor `count_max` were.
    pub(super) fn join(&self, concurrent: u32, count_max: u32) -> Option<u32> {
        let mut seats = self.seats.lock();
        let is_full = seats.taken.len() >= concurrent as usize || seats.count >= count_max;
        if is_full || seats.is_closed || seats.is_ended {
            return None;
        }
        seats.count += 1;
        let number = seats.count;
        seats.taken.insert(number, Seat::default());
        self.ledger.open(number);
        Some(number)
    }

    /// Whether somebody may come to join.
    pub(super) fn is_open(&self, count_max: u32) -> bool {
        let seats = self.seats.lock();
        !seats.is_closed && !seats.is_ended && seats.count < count_max
    }

    /// Lets nobody join any more.
    pub(super) fn close(&self) {
        self.seats.lock().is_closed = true;
    }

    pub(super) fn is_ended(&self) -> bool {
        self.seats.lock().is_ended
    }

    pub(super) fn turn(&self, number: u32, waker: &Waker) -> Turn {
        let mut seats = self.seats.lock();
        let is_first = seats.taken.first_key_value().is_some_and(|(first, _)| *first == number);
        let Some(seat) = seats.taken.get_mut(&number) else { return Turn::Wait };
        if let Some(outcome) = seat.outcome.take() {
            return Turn::Leave(outcome);
        }
        seat.waker = Some(waker.clone());
        if is_first { Turn::Drive } else { Turn::Wait }
    }

    /// Gives a place up, and returns the CPU time that its message used, if it is not done. The first message left then
    /// drives.
    pub(super) fn leave(&self, number: u32) -> Duration {
        let next = {
            let mut seats = self.seats.lock();
            seats.taken.remove(&number);
            seats.taken.first_key_value().and_then(|(_, seat)| seat.waker.clone())
        };
        if let Some(next) = next {
            next.wake();
        }
        self.ledger.close(number)
    }

    pub(super) fn finish(&self, number: u32, outcome: Outcome) {
        let waker = {
            let mut seats = self.seats.lock();
            seats.taken.get_mut(&number).and_then(|seat| {
                seat.outcome.get_or_insert(outcome);
                seat.waker.clone()
            })
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends the instance for all messages in it that are not done. The one at fault gets the error; the others are
    /// given back. If no single one is at fault, all get it: given back, they would meet again and again.
    pub(super) fn end(&self, culprit: Option<u32>, error: Option<&ReceiveError>) {
        let mut seats = self.seats.lock();
        seats.is_ended = true;
        let mut wakers = Vec::new();
        let is_at_work = |number: &u32| seats.taken.get(number).is_some_and(|seat| seat.outcome.is_none());
        let culprit = culprit.filter(is_at_work);
        for (number, seat) in &mut seats.taken {
            let is_to_blame = culprit.is_none_or(|culprit| culprit == *number);
            let error = match error {
                Some(error) if is_to_blame => error.clone(),
                _ => given_back(),
            };
            let cpu = self.ledger.close(*number);
            seat.outcome.get_or_insert(Outcome { result: Err(error), published_bytes: 0, host_work: 0, cpu });
            wakers.extend(seat.waker.clone());
        }
        drop(seats);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn saw_memory(&self, bytes: usize) {
        self.memory_peak_bytes.fetch_max(bytes as u64, Ordering::Relaxed);
    }
}

fn given_back() -> ReceiveError {
    let text = "the instance had to end, for another message that it had";
    ReceiveError::new(Disposition::GiveBack, Reason::InstanceEnded, text)
}

impl Wake for Roster {
    fn wake(self: Arc<Self>) {
        let first = self.seats.lock().taken.first_key_value().and_then(|(_, seat)| seat.waker.clone());
        if let Some(first) = first {
            first.wake();
        }
    }
}
