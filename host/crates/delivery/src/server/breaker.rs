//! The circuit breaker: a receiver that faults on one message after another gets them one at a time, with pauses.

use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use wasmpost_msg::{Reason, ReceiveError};

use crate::RetryPolicy;

/// On how many different messages in a row a receiver faults before it is slowed.
const FAULTS_MAX: usize = 5;
/// The pauses before each message while a receiver is slowed.
const PAUSES: RetryPolicy = RetryPolicy {
    attempts_max: u32::MAX,
    backoff_first: Duration::from_secs(1),
    backoff_max: Duration::from_secs(300),
    jitter: 0.2,
    retry_after_min: Duration::ZERO,
    retry_after_max: Duration::ZERO,
};

/// How a receiver gets its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// As they come.
    Closed,
    /// One at a time, with a pause before each.
    Open {
        /// The pause before the next, in milliseconds.
        pause_ms: u64,
    },
}

#[derive(Default)]
pub(super) struct Breaker {
    state: Mutex<State>,
    closed: Notify,
}

#[derive(Default)]
struct State {
    /// The messages that the receiver faulted on since it last did its work, each once.
    faulted: Vec<String>,
    /// How many messages it faulted on since it is slowed, that which slowed it included; 0 while it is not.
    opened: u32,
    pause: Duration,
}

impl Breaker {
    /// Takes note of how a delivery ended.
    pub(super) fn record(&self, receiver: &str, id: &str, result: &Result<(), ReceiveError>) {
        let mut state = self.state.lock();
        match result {
            Err(error) if is_fault(error.reason()) => {
                if state.opened == 0 && state.faulted.iter().all(|known| known != id) {
                    state.faulted.push(id.to_owned());
                }
                if state.faulted.len() >= FAULTS_MAX {
                    state.opened = state.opened.saturating_add(1);
                    state.pause = PAUSES.backoff(state.opened, fastrand::f64());
                    let (pause, reason) = (state.pause, error.reason());
                    tracing::warn!(%receiver, %reason, ?pause, "faults on every message; slowed to one at a time");
                }
            }
            // An answer, even one that says no, shows that the receiver works. A delivery that was given back shows
            // nothing.
            Err(error) if !is_answer(error.reason()) => {}
            _ => self.close(&mut state, receiver),
        }
    }

    /// Takes the receiver for another one than that which faulted.
    pub(super) fn reset(&self, receiver: &str) {
        self.close(&mut self.state.lock(), receiver);
    }

    fn close(&self, state: &mut State, receiver: &str) {
        if state.opened > 0 {
            tracing::info!(%receiver, "not slowed any more");
            self.closed.notify_waiters();
        }
        *state = State::default();
    }

    pub(super) fn state(&self) -> BreakerState {
        let state = self.state.lock();
        match state.opened {
            0 => BreakerState::Closed,
            _ => BreakerState::Open { pause_ms: u64::try_from(state.pause.as_millis()).unwrap_or(u64::MAX) },
        }
    }

    /// Waits before the next message for as long as it has to, if it has to.
    pub(super) async fn pause(&self) {
        let closed = self.closed.notified();
        let mut closed = std::pin::pin!(closed);
        closed.as_mut().enable();
        let state = self.state();
        if let BreakerState::Open { pause_ms } = state {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(pause_ms)) => {}
                // Another version of the component need not wait for what this one did.
                () = closed => {}
            }
        }
    }
}

/// Whether a failure is a fault of the guest that it did not tell of itself.
fn is_fault(reason: Reason) -> bool {
    use Reason::{CpuLimit, HandleLimit, MemoryLimit, Panic, ResultTooLarge, TableLimit, Timeout, Trap};
    matches!(reason, Panic | Trap | CpuLimit | MemoryLimit | TableLimit | HandleLimit | ResultTooLarge | Timeout)
}

fn is_answer(reason: Reason) -> bool {
    matches!(reason, Reason::Failed | Reason::Attempts | Reason::Rejected)
}

#[cfg(test)]
mod tests {
    use wasmpost_msg::Disposition;

    use super::*;

    fn trap() -> Result<(), ReceiveError> {
        Err(ReceiveError::new(Disposition::Retry, Reason::Trap, "unreachable"))
    }

    fn pause(breaker: &Breaker) -> Option<u64> {
        match breaker.state() {
            BreakerState::Closed => None,
            BreakerState::Open { pause_ms } => Some(pause_ms),
        }
    }

    #[test]
    fn five_different_messages_in_a_row_open_it() {
        let breaker = Breaker::default();
        for id in ["a", "b", "a", "c", "a", "d"] {
            breaker.record("r", id, &trap());
            assert_eq!(pause(&breaker), None, "{id}");
        }
        breaker.record("r", "e", &trap());
        assert!((1000..=1200).contains(&pause(&breaker).unwrap()));
    }

    #[test]
    fn pauses_grow_with_each_further_fault() {
        let breaker = Breaker::default();
        (0..5).for_each(|id| breaker.record("r", &id.to_string(), &trap()));
        let mut pauses = Vec::new();
        for _ in 0..12 {
            breaker.record("r", "again", &trap());
            pauses.push(pause(&breaker).unwrap());
        }
        assert!((2000..=2400).contains(&pauses[0]) && (4000..=4800).contains(&pauses[1]), "{pauses:?}");
        assert!((300_000..=360_000).contains(&pauses[11]), "{pauses:?}");
    }

    #[test]
    fn whatever_the_receiver_answers_closes_it() {
        for answer in [Ok(()), Err(ReceiveError::retry("no")), Err(ReceiveError::reject("never"))] {
            let breaker = Breaker::default();
            (0..5).for_each(|id| breaker.record("r", &id.to_string(), &trap()));
            breaker.record("r", "good", &answer);
            assert_eq!(pause(&breaker), None, "{answer:?}");
        }
    }

    #[test]
    fn what_the_host_did_says_nothing_about_the_receiver() {
        let breaker = Breaker::default();
        let busy = Err(ReceiveError::new(Disposition::GiveBack, Reason::HostBusy, "no instance is free"));
        (0..20).for_each(|id| breaker.record("r", &id.to_string(), &busy));
        assert_eq!(pause(&breaker), None);
        (0..5).for_each(|id| breaker.record("r", &id.to_string(), &trap()));
        breaker.record("r", "busy", &busy);
        assert!(pause(&breaker).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn another_component_does_not_wait_for_the_faults_of_the_last() {
        let breaker = Breaker::default();
        (0..15).for_each(|id| breaker.record("r", &id.to_string(), &trap()));
        let began = tokio::time::Instant::now();
        let waiting = breaker.pause();
        tokio::pin!(waiting);
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        breaker.reset("r");
        waiting.await;
        assert_eq!((began.elapsed(), pause(&breaker)), (Duration::ZERO, None));
    }
}
