//! Receivers at work, what they publish, and the end: I10 to I12, I16.

use std::collections::BTreeMap;

use super::ledger::{Lease, Ledger, When, origin};
use crate::guest::NEXT;
use crate::history::{Answer, How, Running, What};
use crate::host::QUEUES;

/// I10: no more receivers run at a time than may, of one receiver and of its tenant.
pub fn limits_hold(ledger: &Ledger<'_>) -> Vec<String> {
    let over = ledger.leases.iter().filter_map(|lease| {
        let running = lease.began?;
        let Running { of_receiver, of_receiver_max, of_share, of_share_max } = running;
        let is_over = of_receiver > of_receiver_max || of_share > of_share_max;
        is_over.then(|| format!("{} began with {running:?}", lease.name()))
    });
    over.collect()
}

/// I11: what a receiver published is seen if, and only if, the message that it came from was acked. A power cut takes both
/// together, if the disk had neither yet: then the message comes again, though what it published was seen.
pub fn outbox_follows_the_ack(ledger: &Ledger<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let mut seen: BTreeMap<(&str, &str, usize), (u32, When)> = BTreeMap::new();
    for lease in &ledger.leases {
        let Some((source, attempt, ordinal)) = origin(&lease.taken.message) else { continue };
        let (first, when) = *seen.entry((lease.queue(), source, ordinal)).or_insert((attempt, lease.when));
        if first != attempt && !ledger.was_cut(when, lease.when) {
            found.push(format!("{} is there from attempt {first} as well", lease.name()));
        }
        // One that was cut off, and was not counted for it, has the same number.
        let mut of = ledger.of_message("work", source).filter(|of| of.taken.deliveries == attempt);
        let Some(of) = of.clone().find(|of| of.is_ack() && of.may_be_settled()).or_else(|| of.next()) else {
            found.push(format!("{} comes from an attempt that nobody made", lease.name()));
            continue;
        };
        found.extend(
            fault_of_source(ledger, lease, of).map(|fault| format!("{} of {} {fault}", lease.name(), of.name())),
        );
    }
    for lease in ledger.leases.iter().filter(|lease| ledger.end.is_some() && lease.is_settled()) {
        let Some((_, How::Ack { published })) = lease.settling else { continue };
        for (queue, _) in QUEUES.iter().filter(|(_, topic)| *topic == NEXT && lease.queue() == "work") {
            let missing = (0..*published).find(|ordinal| !seen.contains_key(&(queue, lease.id(), *ordinal)));
            found.extend(missing.map(|ordinal| format!("{queue} never got number {ordinal} of {}", lease.name())));
        }
    }
    found
}

fn fault_of_source(ledger: &Ledger<'_>, lease: &Lease<'_>, of: &Lease<'_>) -> Option<&'static str> {
    if !matches!(of.answered, Some((_, Answer::Ok, _))) {
        return Some("was published, though the receiver failed");
    }
    let is_acked = of.is_ack() && of.settling.is_some_and(|(when, _)| when < lease.when);
    if !is_acked || !of.may_be_settled() {
        return Some("was published, though its source was not acked");
    }
    let is_lost = |later: &Lease<'_>| of.durable.is_none() && ledger.was_cut(of.when, later.when);
    let again = ledger.of_message("work", of.id()).any(|later| later.when > lease.when && !is_lost(later));
    again.then_some("was published, and its source was delivered again")
}

/// I12: after a process was shut down in order, no lease, no receiver and no task of it is left.
pub fn drained_is_empty(ledger: &Ledger<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for (when, life, left) in &ledger.drained {
        if left.in_flight > 0 || left.running > 0 || !left.ended {
            found.push(format!("at {} there was left: {left:?}", when.at));
        }
        let of_life = ledger.leases.iter().filter(|lease| lease.life == *life && lease.when < *when);
        let unsettled = of_life.clone().filter(|lease| lease.settling.is_none());
        found.extend(
            unsettled.map(|lease| format!("{} was left unsettled by a process that was shut down", lease.name())),
        );
        let failed = of_life.filter(|lease| !lease.may_be_settled()).count() as u64;
        if left.leased.is_some_and(|leased| leased > failed) {
            found.push(format!("at {} the store had {:?} leases, {failed} could not be settled", when.at, left.leased));
        }
    }
    found
}

/// I16: when faults stop, everything is delivered within the longest delay, a lease and five seconds.
pub fn all_ends_in_time(ledger: &Ledger<'_>) -> Vec<String> {
    let stuck = ledger.trouble.iter().filter(|what| matches!(what, What::Stuck { .. }));
    let mut found: Vec<_> = stuck.map(|what| format!("{what:?}")).collect();
    if ledger.end.is_none() && ledger.trouble.is_empty() {
        found.push("the simulation came to no end".into());
    }
    found
}
