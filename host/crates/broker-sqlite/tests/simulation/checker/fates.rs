//! Dead letters, and messages that wait for each other: I8 and I9.

use std::collections::BTreeMap;

use super::ledger::{Lease, Ledger, Sent, When};
use crate::history::{Answer, How};
use crate::host::QUEUES;

/// I8: with its last failure a message becomes one dead letter, and is in its queue no more.
pub fn one_dead_letter(ledger: &Ledger<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for lease in &ledger.leases {
        let attempts_max = ledger.plan.retry.attempts_max;
        if let Some((_, How::Nack { counted: true, .. })) = lease.settling
            && lease.taken.failures + 1 >= attempts_max
        {
            found.push(format!("{} failed for the last of {attempts_max} times and was put back", lease.name()));
        }
        let Some((settling, How::Reject)) = lease.settling.filter(|_| lease.is_settled()) else { continue };
        let queue = lease.queue();
        let id = lease.id();
        if ledger.was_redriven(queue, id, settling) {
            continue;
        }
        let again =
            |later: &&Lease<'_>| later.when > settling && !ledger.was_purged_between(queue, id, settling, later.when);
        if let Some(later) = ledger.of_message(queue, id).find(again) {
            found.push(format!("{} was delivered after {} made it a dead letter", later.name(), lease.name()));
        } else if ledger.end.is_some() && !ledger.is_dead(queue, id) && !ledger.was_purged(queue, id) {
            found.push(format!("{} made no dead letter", lease.name()));
        }
    }
    found.extend(faults_of_dead(ledger));
    found
}

fn faults_of_dead(ledger: &Ledger<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let mut letters: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for dead in ledger.dead() {
        let queue = dead.queue.as_str();
        let id = dead.id.as_str();
        *letters.entry((queue, id)).or_default() += 1;
        let was_rejected = ledger.of_message(queue, id).any(|lease| lease.is_reject() && lease.may_be_settled());
        let crashes = ledger.lives.iter().filter(|life| life.freed.is_some()).count();
        let was_in_crashes = dead.reason == "crash" && crashes >= 3;
        if !was_rejected && !was_in_crashes {
            found.push(format!("{queue} {id:?} is dead for {}, and nothing made it so", dead.reason));
        }
    }
    let twice = letters.into_iter().filter(|(_, count)| *count > 1);
    found.extend(twice.map(|((queue, id), count)| format!("{queue} {id:?} has {count} dead letters")));
    found
}

/// I9: of the messages with one key, none is delivered before those that were published before it have ended.
pub fn keys_are_in_order(ledger: &Ledger<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for (queue, _) in QUEUES {
        let mut keys: BTreeMap<&str, Vec<&Sent<'_>>> = BTreeMap::new();
        for sent in ledger.sent_to(queue) {
            let Some(key) = sent.message.key.as_deref() else { continue };
            let before = keys.entry(key).or_default();
            if let Some(first) = ledger.of_message(queue, sent.id).next() {
                let open = before.iter().find(|earlier| !has_ended(ledger, queue, earlier, first.when));
                found.extend(open.map(|earlier| format!("{} came before {:?} had ended", first.name(), earlier.id)));
            }
            before.push(sent);
        }
    }
    found
}

/// Whether a message had ended at a time, for all that is known.
fn has_ended(ledger: &Ledger<'_>, queue: &str, sent: &Sent<'_>, when: When) -> bool {
    let mut leases = ledger.of_message(queue, sent.id).peekable();
    let may_be_unknown = !sent.confirmed && leases.peek().is_none();
    // A process that begins while the wall clock is further ahead takes that for time that has passed.
    let was_set_ahead = ledger.was_set_ahead(sent.when, when);
    let has_expired =
        sent.message.ttl.is_some_and(|ttl| was_set_ahead || sent.when.at + ttl.as_millis() as u64 <= when.at + 1);
    let is_settled = leases.any(|lease| {
        (lease.is_ack() || lease.is_reject())
            && lease.may_be_settled()
            && lease.settling.is_some_and(|(at, _)| at < when)
    });
    let is_dead_by_crash = ledger.dead().iter().any(|dead| dead.id == sent.id && dead.reason == "crash");
    may_be_unknown || has_expired || is_settled || is_dead_by_crash
}

/// I18: a message is settled by what its receiver answered for it, and not by an answer for another one.
pub fn answers_decide(ledger: &Ledger<'_>) -> Vec<String> {
    let decided = |lease: &&Lease<'_>| {
        let (Some((_, answer, _)), Some((_, how))) = (lease.answered, lease.settling) else { return true };
        match (answer, how) {
            // It is given back by the end of its process.
            (_, How::Drop) => true,
            (Answer::Ok, how) => matches!(how, How::Ack { .. }),
            (Answer::Reject, how) => *how == How::Reject,
            (Answer::GiveBack, how) => matches!(how, How::Nack { counted: false, .. }),
            (Answer::Retry | Answer::RetryAfter(_) | Answer::Trap, how) => {
                matches!(how, How::Nack { counted: true, .. } | How::Reject)
            }
        }
    };
    let other = ledger.leases.iter().filter(|lease| !decided(lease));
    other
        .map(|lease| format!("{} was settled by {:?} after {:?}", lease.name(), lease.settling, lease.answered))
        .collect()
}
