//! The circuit breaker: a receiver that faults on one message after another gets them one at a time, with pauses.
//!
//! Two things look alike at first: a receiver that is broken, and a burst of messages that break it with good ones
//! behind them. Both are tried one at a time. Messages that the receiver did not fault on yet are tried after short
//! pauses, up to [`FRESH_MAX`] of them: one that works shows that the receiver does, and costs the others an attempt at
//! most. All others, those that it faulted on already above all, share one try after each long pause, which doubles
//! each time that this try fails; meanwhile they are put back, so that they stand in nobody's way. Only these single
//! tries lengthen the pause: deliveries that were in flight when the receiver was slowed say nothing new.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;
use wasmpost_msg::{Reason, ReceiveError};

use crate::retry::RetryPolicy;

/// On how many different messages in a row a receiver faults before it is slowed.
const FAULTS_MAX: usize = 5;
/// How many messages that it did not fault on yet are tried after short pauses while a receiver is slowed.
const FRESH_MAX: u32 = 64;
/// The pause before each of them.
const FRESH_PAUSE: Duration = Duration::from_millis(20);
/// How many messages that the receiver faulted on are remembered.
const FAULTED_MAX: usize = 4096;
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// The pauses before all other tries while a receiver is slowed.
const PAUSES: RetryPolicy = RetryPolicy {
    attempts_max: u32::MAX,
    backoff_first: Duration::from_secs(1),
    backoff_max: PAUSE_MAX,
    jitter: 0.2,
    retry_after_min: Duration::ZERO,
    retry_after_max: Duration::ZERO,
};

/// How a receiver gets its messages.
///
/// # Examples
///
/// ```
/// use wasmpost_delivery::BreakerState;
///
/// fn told(state: BreakerState) -> String {
///     match state {
///         BreakerState::Closed => "as they come".to_owned(),
///         BreakerState::Open { pause_ms } => format!("one at a time, the next try in {pause_ms} ms at most"),
///     }
/// }
/// # drop(told);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// As they come.
    Closed,
    /// One at a time, with a pause before each.
    Open {
        /// The pause between tries of messages that the receiver faulted on before, in milliseconds.
        pause_ms: u64,
    },
}

#[derive(Default)]
pub(super) struct Breaker {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// The messages that the receiver faulted on since it last did its work, and how often.
    faulted: HashMap<String, u32>,
    slowed: Option<Slowed>,
}

/// How a receiver is slowed.
struct Slowed {
    /// How many fresh messages it faulted on.
    fresh: u32,
    /// From when on the next fresh message may be tried.
    fresh_at: Instant,
    /// How many pauses there were.
    pauses: u32,
    pause: Duration,
    /// When the pause is over, and any message may be tried.
    over_at: Instant,
    trying: Option<Trying>,
}

/// The message that is being tried.
struct Trying {
    id: String,
    is_fresh: bool,
}

impl Breaker {
    /// Takes note of how a delivery ended.
    pub(super) fn record(&self, receiver: &str, id: &str, result: &Result<(), ReceiveError>) {
        let mut state = self.state.lock();
        match result {
            Err(error) if is_fault(error.reason()) => {
                if state.fault(id)
                    && let Some(slowed) = &state.slowed
                {
                    let pause = slowed.pause;
                    let reason = error.reason();
                    tracing::warn!(%receiver, %id, %reason, ?pause, "faults on every message; slowed to one at a time");
                    self.changed.notify_waiters();
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
        state.faulted.clear();
        if state.slowed.take().is_some() {
            tracing::info!(%receiver, "not slowed any more");
            self.changed.notify_waiters();
        }
    }

    pub(super) fn state(&self) -> BreakerState {
        match &self.state.lock().slowed {
            None => BreakerState::Closed,
            Some(slowed) => {
                BreakerState::Open { pause_ms: u64::try_from(slowed.pause.as_millis()).unwrap_or(u64::MAX) }
            }
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.state.lock().slowed.is_some()
    }

    /// Waits until the breaker is open.
    pub(super) async fn opened(&self) {
        self.until(Self::is_open).await;
    }

    /// Waits until the breaker is closed.
    pub(super) async fn closed(&self) {
        self.until(|breaker| !breaker.is_open()).await;
    }

    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if is_so(self) {
                return;
            }
            changed.await;
        }
    }

    /// Waits before the next message for as long as it has to, if it has to.
    pub(super) async fn pause(&self) {
        let until = self.state.lock().slowed.as_ref().map(Slowed::next_at);
        if let Some(until) = until {
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                // Another version of the component need not wait for what this one did.
                () = self.closed() => {}
            }
        }
    }

    /// Whether a message may be tried now. If not, says after which time it may be.
    pub(super) fn admit(&self, id: &str) -> Result<(), Duration> {
        let mut state = self.state.lock();
        let State { faulted, slowed } = &mut *state;
        let Some(slowed) = slowed else { return Ok(()) };
        let faults = faulted.get(id).copied().unwrap_or(0);
        let is_fresh = slowed.fresh < FRESH_MAX && faults == 0;
        let wait = slowed.over_at.saturating_duration_since(Instant::now());
        if !is_fresh && !wait.is_zero() {
            // Those that were tried least come first, so that no message uses up its attempts for all.
            return Err(wait + FRESH_PAUSE * faults);
        }
        slowed.trying = Some(Trying { id: id.to_owned(), is_fresh });
        Ok(())
    }
}

impl State {
    /// A message was faulted on. Says whether the pause is longer for it.
    fn fault(&mut self, id: &str) -> bool {
        if let Some(faults) = self.faulted.get_mut(id) {
            *faults = faults.saturating_add(1);
        } else if self.faulted.len() < FAULTED_MAX {
            self.faulted.insert(id.to_owned(), 1);
        }
        let Some(slowed) = &mut self.slowed else {
            if self.faulted.len() < FAULTS_MAX {
                return false;
            }
            self.slowed = Some(Slowed::begin());
            return true;
        };
        match slowed.trying.take_if(|trying| trying.id == id) {
            // It was in flight when the receiver was slowed.
            None => false,
            Some(Trying { is_fresh: true, .. }) => {
                slowed.fresh += 1;
                slowed.fresh_at = Instant::now() + FRESH_PAUSE;
                false
            }
            Some(Trying { is_fresh: false, .. }) => {
                slowed.lengthen();
                true
            }
        }
    }
}

impl Slowed {
    fn begin() -> Self {
        let now = Instant::now();
        let pause = Duration::ZERO;
        let mut slowed = Self { fresh: 0, fresh_at: now + FRESH_PAUSE, pauses: 0, pause, over_at: now, trying: None };
        slowed.lengthen();
        slowed
    }

    fn lengthen(&mut self) {
        self.pauses = self.pauses.saturating_add(1);
        self.pause = PAUSES.backoff(self.pauses, fastrand::f64()).min(PAUSE_MAX);
        self.over_at = Instant::now() + self.pause;
    }

    /// When to look for the next message.
    fn next_at(&self) -> Instant {
        if self.fresh < FRESH_MAX { self.fresh_at.min(self.over_at) } else { self.over_at }
    }
}

/// Whether a failure is a fault of the guest that it did not tell of itself.
fn is_fault(reason: Reason) -> bool {
    use Reason::{CpuLimit, HandleLimit, MemoryLimit, Panic, ResultCount, ResultTooLarge, TableLimit, Timeout, Trap};
    let of_limits = matches!(reason, CpuLimit | MemoryLimit | TableLimit | HandleLimit | Timeout);
    of_limits || matches!(reason, Panic | Trap | ResultCount | ResultTooLarge)
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

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_with_each_try_that_fails_up_to_five_minutes() {
        let breaker = Breaker::default();
        (0..5).for_each(|id| breaker.record("r", &id.to_string(), &trap()));
        let mut pauses = Vec::new();
        for _ in 0..12 {
            breaker.pause().await;
            while let Err(wait) = breaker.admit("0") {
                tokio::time::sleep(wait).await;
            }
            breaker.record("r", "0", &trap());
            pauses.push(pause(&breaker).unwrap());
        }
        assert!((2000..=2400).contains(&pauses[0]) && (4000..=4800).contains(&pauses[1]), "{pauses:?}");
        assert_eq!(pauses[11], 300_000, "jitter included");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_in_flight_when_it_opened_lengthens_nothing() {
        let breaker = Breaker::default();
        (0..5).for_each(|id| breaker.record("r", &id.to_string(), &trap()));
        let first = pause(&breaker);
        (5..69).for_each(|id| breaker.record("r", &id.to_string(), &trap()));
        assert_eq!(pause(&breaker), first);
        // They are known from now on, and no fresh ones.
        assert!(breaker.admit("68").is_err() && breaker.admit("69").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn fresh_messages_are_tried_after_short_pauses_until_there_were_64() {
        let breaker = Breaker::default();
        (0..5).for_each(|id| breaker.record("r", &id.to_string(), &trap()));
        let began = Instant::now();
        for id in 5..69 {
            breaker.pause().await;
            assert_eq!(breaker.admit(&id.to_string()), Ok(()));
            breaker.record("r", &id.to_string(), &trap());
        }
        assert!(began.elapsed() <= 64 * FRESH_PAUSE, "{:?}", began.elapsed());
        assert!((1000..=1200).contains(&pause(&breaker).unwrap()), "{:?}", pause(&breaker));
        breaker.pause().await;
        breaker.admit("69").unwrap();
        breaker.record("r", "69", &trap());
        assert!(breaker.admit("70").unwrap_err() >= Duration::from_secs(2));
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
