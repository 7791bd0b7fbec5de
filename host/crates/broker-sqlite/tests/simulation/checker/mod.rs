//! The invariants, each one assertion over a history.

mod account;
mod fates;
mod flow;
mod leases;
mod ledger;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::history::Event;
use crate::plan::Plan;
use ledger::Ledger;

/// A broken promise.
#[derive(Debug, Clone, PartialEq)]
pub struct Violation {
    pub invariant: &'static str,
    pub text: String,
}

/// Finds the violations of one invariant.
type Rule = fn(&Ledger<'_>) -> Vec<String>;

/// The invariants that a history shows.
pub const RULES: [(&str, &str, Rule); 15] = [
    ("I1", "each confirmed message ends, and no other is counted", account::all_is_accounted_for),
    ("I2", "only published messages are delivered", account::nothing_is_made_up),
    ("I3", "a durably acked message is not delivered again", leases::acked_is_acked),
    ("I4", "deliveries are counted upwards", leases::deliveries_grow),
    ("I5", "nothing is delivered before its backoff is over", leases::backoff_is_kept),
    ("I6", "a lost lease settles nothing", leases::stale_is_stale),
    ("I7", "a message has one lease at a time", leases::one_lease_at_a_time),
    ("I8", "the last failure makes one dead letter", fates::one_dead_letter),
    ("I9", "messages with a key come in order", fates::keys_are_in_order),
    ("I10", "no more receivers run at a time than allowed", flow::limits_hold),
    ("I11", "messages of a receiver appear if and only if its message is acked", flow::outbox_follows_the_ack),
    ("I12", "after a shutdown nothing is left", flow::drained_is_empty),
    ("I16", "when faults stop, everything is delivered in time", flow::all_ends_in_time),
    ("I17", "an unclosed message is not published", account::unclosed_is_unpublished),
    ("I18", "a message is settled by the answer of its receiver to it", fates::answers_decide),
];

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.invariant, self.text)
    }
}

/// All violations in a history.
pub fn check(plan: &Plan, events: &[Event]) -> Vec<Violation> {
    let ledger = Ledger::of(plan, events);
    let found = RULES.iter().flat_map(|(invariant, _, rule)| {
        rule(&ledger).into_iter().map(|text| Violation { invariant, text }).collect::<Vec<_>>()
    });
    found.collect()
}
