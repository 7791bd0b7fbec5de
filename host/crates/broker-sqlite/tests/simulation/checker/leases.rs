//! Leases, one after another: I3 to I7.

use std::time::Duration;

use super::ledger::{Lease, Ledger, When};
use crate::history::{Answer, How, Outcome, Time};

/// By how much two clocks that count whole milliseconds may differ.
const TICK: Time = 1;

/// I3: a message is not delivered again once its ack is on disk; unless power is cut, once its ack was answered.
pub fn acked_is_acked(ledger: &Ledger<'_>) -> Vec<String> {
    let again = ledger.leases.iter().filter_map(|lease| {
        let answered = lease.settled.filter(|_| lease.is_ack() && lease.is_settled()).map(|(when, _)| when);
        let is_again = |later: &&Lease<'_>| {
            let after = |when: When| later.when > when;
            let was_answered = answered.is_some_and(|when| after(when) && !ledger.was_cut(when, later.when));
            lease.durable.is_some_and(after) || was_answered
        };
        let later = ledger.of_message(lease.queue(), lease.id()).find(is_again)?;
        Some(format!("{} was delivered after the ack of {}", later.name(), lease.name()))
    });
    again.collect()
}

/// I4: the count of deliveries grows with each that a receiver was to get, across restarts too. When power is cut, those
/// in flight are not counted.
pub fn deliveries_grow(ledger: &Ledger<'_>) -> Vec<String> {
    let wrong = ledger.pairs().filter(|(before, after)| {
        let first = before.taken.deliveries;
        let second = after.taken.deliveries;
        // Nothing tells that a dropped lease was given back, or that an ack is on disk.
        let is_stored = before.is_settled() && !before.is_ack() && !before.is_dropped();
        let is_lost = ledger.was_cut(before.when, after.when) && !is_stored;
        let is_counted = before.has_begun || is_stored;
        if is_lost {
            false
        } else if is_counted {
            second <= first
        } else {
            second < first
        }
    });
    wrong.map(|(before, after)| format!("{} came after {}", after.name(), before.name())).collect()
}

/// I5: after a failure a message is not delivered before its backoff is over, and that is as long as the policy says.
pub fn backoff_is_kept(ledger: &Ledger<'_>) -> Vec<String> {
    let early = ledger.pairs().filter_map(|(before, after)| {
        let (settling, How::Nack { delay, .. }) = before.settling? else { return None };
        let due = settling.at + millis(*delay);
        let is_early = before.is_settled() && after.when.at + TICK < due;
        // A process that begins while the wall clock is further ahead than it was for the one before cannot know that
        // less time has passed.
        let is_early = is_early && !ledger.was_set_ahead(settling, after.when);
        is_early.then(|| format!("{} was not due before {due}, for {}", after.name(), before.name()))
    });
    let short = ledger.leases.iter().filter_map(|lease| {
        let (_, How::Nack { delay, counted }) = lease.settling? else { return None };
        let least = least_delay(ledger, lease, *counted)?;
        (*delay < least).then(|| format!("{} was put back for {delay:?}, not {least:?}", lease.name()))
    });
    early.chain(short).collect()
}

/// The shortest delay that a nack may have after what the receiver answered.
fn least_delay(ledger: &Ledger<'_>, lease: &Lease<'_>, counted: bool) -> Option<Duration> {
    let policy = &ledger.plan.retry;
    let (_, answer, _) = lease.answered?;
    match answer {
        Answer::Retry | Answer::Trap if counted => Some(policy.backoff(lease.taken.failures + 1, 0.0)),
        Answer::RetryAfter(asked) if counted => Some((*asked).clamp(policy.retry_after_min, policy.retry_after_max)),
        _ => None,
    }
}

/// I6: a lost lease settles nothing, and its holder gets an error.
pub fn stale_is_stale(ledger: &Ledger<'_>) -> Vec<String> {
    let wrong = ledger.leases.iter().filter_map(|lease| {
        let (settling, how) = lease.settling?;
        let later =
            ledger.of_message(lease.queue(), lease.id()).any(|later| lease.when < later.when && later.when < settling);
        let is_lost = later || settling.at > latest_end(lease)? + TICK;
        let (_, outcome) = lease.settled?;
        // A dropped lease gets no answer, and a settlement that was lost on its way does not count.
        let is_told = matches!(outcome, Outcome::Stale | Outcome::Closed | Outcome::Failed) || *how == How::Drop;
        (is_lost && !is_told)
            .then(|| format!("{} was lost before it was settled at {}: {how:?}", lease.name(), settling.at))
    });
    wrong.collect()
}

/// The latest time at which a lease can have ended by itself, if that is known.
fn latest_end(lease: &Lease<'_>) -> Option<Time> {
    let is_known = lease.renewing.len() == lease.renewed.len();
    let last = lease.renewed.last().unwrap_or(&lease.when);
    is_known.then(|| last.at + millis(lease.taken.lasts))
}

/// The earliest time at which a lease can have ended by itself, as far as it was renewed before `when`.
fn earliest_end(lease: &Lease<'_>, when: When) -> Time {
    let renewals = lease.renewing.iter().zip(&lease.renewed).filter(|(_, renewed)| **renewed < when);
    let last = renewals.map(|(renewing, _)| renewing).next_back().unwrap_or(&lease.when);
    last.at + millis(lease.taken.lasts)
}

/// I7: while a message is leased it is not leased again.
pub fn one_lease_at_a_time(ledger: &Ledger<'_>) -> Vec<String> {
    let twice = ledger.pairs().filter(|(before, after)| {
        let is_settled = before.may_be_settled() && before.settling.is_some_and(|(when, _)| when < after.when);
        let has_lapsed = earliest_end(before, after.when) <= after.when.at + TICK;
        let freed = ledger.lives[before.life - 1].freed;
        !(is_settled || has_lapsed || freed.is_some_and(|freed| freed < after.when))
    });
    twice.map(|(before, after)| format!("{} was leased while {} was", after.name(), before.name())).collect()
}

fn millis(duration: Duration) -> Time {
    duration.as_millis() as Time
}
