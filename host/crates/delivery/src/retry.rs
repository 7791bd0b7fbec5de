//! The retry policy: the one place that decides on the verdict of a delivery.

use std::time::Duration;

use wasmpost_msg::{Disposition, Reason, ReceiveError};

/// How many failures a message has before a receiver that always asks for an early time gets later ones.
const PATIENT_FAILURES: u32 = 8;
/// The pauses of a message that is given back uncounted time and again.
const RETURNS: RetryPolicy = RetryPolicy {
    attempts_max: u32::MAX,
    backoff_first: Duration::from_secs(1),
    backoff_max: Duration::from_secs(300),
    jitter: 0.2,
    retry_after_min: Duration::ZERO,
    retry_after_max: Duration::ZERO,
};

/// The rule by which messages are delivered again or dead-lettered. Pure: the same inputs give the same verdict.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use wasmpost_delivery::{RetryPolicy, Verdict};
/// use wasmpost_msg::{Reason, ReceiveError};
///
/// let policy = RetryPolicy { attempts_max: 3, backoff_first: Duration::from_secs(2), ..RetryPolicy::default() };
/// let failed = Err(ReceiveError::retry("not now"));
///
/// // After the second failure it waits 4 seconds, and none longer by chance; the third is the last.
/// let second = policy.verdict(1, 0, &failed, 0.0);
/// assert_eq!(second, Verdict::Nack { delay: Duration::from_secs(4), counted: true });
/// assert_eq!(policy.verdict(2, 0, &failed, 0.0), Verdict::DeadLetter { reason: Reason::Attempts });
/// assert_eq!(policy.verdict(2, 0, &Ok(()), 0.0), Verdict::Ack);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// How many failures a message may have; with the last it becomes a dead letter.
    pub attempts_max: u32,
    /// The delay after the first failure. Each further failure doubles it.
    pub backoff_first: Duration,
    /// The longest delay.
    pub backoff_max: Duration,
    /// How much longer than its backoff a delay may be, as a share of it: 0.2 is up to a fifth. It is never shorter.
    pub jitter: f64,
    /// The shortest delay that a receiver can ask for. From the ninth failure on it doubles, up to `backoff_max`: what
    /// never ends gets rarer.
    pub retry_after_min: Duration,
    /// The longest delay that a receiver can ask for.
    pub retry_after_max: Duration,
}

/// The verdict on a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The message has been processed.
    Ack,
    /// Deliver it again after a delay.
    Nack {
        /// The delay.
        delay: Duration,
        /// Whether the failure counts.
        counted: bool,
    },
    /// Dead-letter it.
    DeadLetter {
        /// Why.
        reason: Reason,
    },
}

impl Default for RetryPolicy {
    /// One second doubling to five minutes, up to 20 % more, eight attempts.
    fn default() -> Self {
        Self {
            attempts_max: 8,
            backoff_first: Duration::from_secs(1),
            backoff_max: Duration::from_secs(300),
            jitter: 0.2,
            retry_after_min: Duration::from_millis(100),
            retry_after_max: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl RetryPolicy {
    /// The verdict on a message that failed `failures` times before and was given back `returns` times since it last
    /// failed, now that a receiver returned `result`. `random`, from 0 to 1, spreads the delays.
    pub fn verdict(&self, failures: u32, returns: u32, result: &Result<(), ReceiveError>, random: f64) -> Verdict {
        let Err(error) = result else { return Verdict::Ack };
        let failures = failures.saturating_add(1);
        match error.disposition() {
            Disposition::Reject => Verdict::DeadLetter { reason: error.reason() },
            // The host is at fault: the delay keeps it from trying as fast as it can.
            Disposition::GiveBack => {
                let is_shutdown = error.reason() == Reason::Shutdown;
                let delay =
                    if is_shutdown { Duration::ZERO } else { RETURNS.backoff(returns.saturating_add(1), random) };
                Verdict::Nack { delay, counted: false }
            }
            _ if failures >= self.attempts_max => {
                let reason = if error.reason() == Reason::Failed { Reason::Attempts } else { error.reason() };
                Verdict::DeadLetter { reason }
            }
            Disposition::Retry => Verdict::Nack { delay: self.backoff(failures, random), counted: true },
            Disposition::RetryAfter(delay) => {
                let min = self.retry_after_floor(failures);
                Verdict::Nack { delay: delay.clamp(min, self.retry_after_max.max(min)), counted: true }
            }
        }
    }

    /// The shortest delay that a receiver can ask for after `failures` failures.
    fn retry_after_floor(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(PATIENT_FAILURES).min(31);
        let grown = self.retry_after_min.saturating_mul(1 << doublings).min(self.backoff_max);
        grown.max(self.retry_after_min)
    }

    /// The delay after `failures` failures, from 1.
    pub fn backoff(&self, failures: u32, random: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(63);
        let nanos = self.backoff_first.as_nanos().saturating_mul(1 << doublings);
        let base = nanos.min(self.backoff_max.as_nanos());
        let more = (base as f64 * self.jitter.max(0.0) * random.clamp(0.0, 1.0)) as u128;
        Duration::from_nanos(u64::try_from(base + more).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(failures: u32, error: ReceiveError) -> Verdict {
        RetryPolicy::default().verdict(failures, 0, &Err(error), 0.0)
    }

    #[test]
    fn ok_is_acked_whatever_failed_before() {
        assert_eq!(RetryPolicy::default().verdict(7, 3, &Ok(()), 0.5), Verdict::Ack);
    }

    #[test]
    fn delays_double_from_one_second_to_five_minutes() {
        let policy = RetryPolicy::default();
        let seconds: Vec<_> = (1..=11).map(|failures| policy.backoff(failures, 0.0).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(policy.backoff(u32::MAX, 0.0), Duration::from_secs(300));
    }

    #[test]
    fn jitter_lengthens_a_delay_and_never_shortens_it() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.backoff(1, 0.0), Duration::from_secs(1));
        assert_eq!(policy.backoff(1, 1.0), Duration::from_millis(1200));
        assert_eq!(policy.backoff(1, -3.0), Duration::from_secs(1));
    }

    #[test]
    fn the_eighth_failure_is_the_last() {
        assert_eq!(
            failed(6, ReceiveError::retry("no")),
            Verdict::Nack { delay: Duration::from_secs(64), counted: true }
        );
        assert_eq!(failed(7, ReceiveError::retry("no")), Verdict::DeadLetter { reason: Reason::Attempts });
    }

    #[test]
    fn exhausted_attempts_keep_the_reason_of_a_trap_or_limit() {
        let trap = ReceiveError::new(Disposition::Retry, Reason::Trap, "unreachable");
        assert_eq!(failed(7, trap), Verdict::DeadLetter { reason: Reason::Trap });
    }

    #[test]
    fn a_rejected_message_is_dead_at_once() {
        assert_eq!(failed(0, ReceiveError::reject("malformed")), Verdict::DeadLetter { reason: Reason::Rejected });
    }

    #[test]
    fn what_a_receiver_asks_for_is_obeyed_within_bounds() {
        let delay = |seconds| match failed(0, ReceiveError::retry_after(Duration::from_secs(seconds), "later")) {
            Verdict::Nack { delay, counted: true } => delay,
            verdict => panic!("{verdict:?}"),
        };
        assert_eq!(delay(90), Duration::from_secs(90));
        assert_eq!(delay(0), Duration::from_millis(100));
        assert_eq!(delay(100 * 365 * 86400), Duration::from_secs(86400));
    }

    #[test]
    fn a_receiver_that_asks_for_no_delay_for_ever_gets_longer_ones() {
        let policy = RetryPolicy { attempts_max: u32::MAX, ..RetryPolicy::default() };
        let at_once = Err(ReceiveError::retry_after(Duration::ZERO, "now"));
        let millis = |failures, result: &Result<(), ReceiveError>| match policy.verdict(failures, 0, result, 0.0) {
            Verdict::Nack { delay, counted: true } => delay.as_millis(),
            verdict => panic!("{verdict:?}"),
        };
        let delays: Vec<_> = (6..14).map(|failures| millis(failures, &at_once)).collect();
        assert_eq!(delays, [100, 100, 200, 400, 800, 1600, 3200, 6400]);
        assert_eq!(millis(1_000_000, &at_once), 300_000);
        // A longer delay than that is obeyed.
        assert_eq!(millis(11, &Err(ReceiveError::retry_after(Duration::from_secs(60), "later"))), 60_000);
    }

    #[test]
    fn what_is_given_back_time_and_again_waits_longer_each_time() {
        let busy = Err(ReceiveError::new(Disposition::GiveBack, Reason::HostBusy, "no room"));
        let policy = RetryPolicy { backoff_max: Duration::from_millis(10), ..RetryPolicy::default() };
        let seconds: Vec<_> = (0..11)
            .map(|returns| match policy.verdict(0, returns, &busy, 0.0) {
                Verdict::Nack { delay, counted: false } => delay.as_secs(),
                verdict => panic!("{verdict:?}"),
            })
            .collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn a_fault_of_the_host_counts_no_failure_even_on_the_last_attempt() {
        let busy = ReceiveError::new(Disposition::GiveBack, Reason::HostBusy, "no instance is free");
        assert_eq!(failed(7, busy), Verdict::Nack { delay: Duration::from_secs(1), counted: false });
        let shutdown = ReceiveError::new(Disposition::GiveBack, Reason::Shutdown, "shutting down");
        assert_eq!(failed(7, shutdown), Verdict::Nack { delay: Duration::ZERO, counted: false });
    }
}
