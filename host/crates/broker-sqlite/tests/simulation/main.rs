//! Seeded simulations of delivery: the real server, retry policy and brokers, with time, disks, receivers, publishers and
//! every fault decided by one number. Each history is then held against the invariants.
//!
//! `WASMPOST_SEEDS` says how many numbers are tried, `WASMPOST_SEED` has one tried alone, and `WASMPOST_SHOW=1` has the
//! history printed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)] // A fault fails the test.
#![allow(unreachable_pub, missing_docs)] // A test has no other readers.

mod breaks;
mod checker;
mod disk;
mod faulty;
mod faulty_lease;
mod guest;
mod history;
mod host;
mod operator;
mod plan;
mod publisher;
mod simulation;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use checker::{Violation, check};
use history::{Event, Outcome, What};
use plan::{Kind, Plan};
use simulation::simulate;
use wasmpost_delivery::prove::Break;

/// A number from the environment.
fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().filter(|text| !text.is_empty()).map(|text| text.parse().expect("a number"))
}

/// The numbers to be tried.
fn seeds(by_default: u64) -> std::ops::Range<u64> {
    match variable("WASMPOST_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = variable("WASMPOST_FIRST_SEED").unwrap_or(0);
            first..first + variable("WASMPOST_SEEDS").unwrap_or(by_default)
        }
    }
}

fn tried(seed: u64, kind: Kind, broken: Option<Break>) -> (Plan, Vec<Event>, Vec<Violation>) {
    let plan = Plan::of(seed, kind, broken);
    let events = simulate(plan.clone());
    let violations = check(&plan, &events);
    (plan, events, violations)
}

/// How many seeds a test tries, and what these have to show.
struct Expected<'a> {
    seeds: u64,
    shows: &'a [&'a str],
}

fn nothing_is_violated(kind: Kind, expected: &Expected<'_>) {
    let began = std::time::Instant::now();
    let seeds = seeds(expected.seeds);
    let count = seeds.end - seeds.start;
    let mut happened = 0;
    let mut seen = BTreeMap::new();
    for seed in seeds {
        let (plan, events, violations) = tried(seed, kind, None);
        happened += events.len();
        if variable("WASMPOST_SHOW").is_some() {
            events.iter().for_each(|event| println!("{event:?}"));
        }
        if !violations.is_empty() {
            let told: Vec<_> = violations.iter().map(Violation::to_string).collect();
            panic!("WASMPOST_SEED={seed} ({kind:?}) violates\n{}\nplan: {plan:?}", told.join("\n"));
        }
        let shown: BTreeSet<_> = events.iter().filter_map(|event| sight(&event.what)).collect();
        shown.into_iter().for_each(|sight| *seen.entry(sight).or_insert(0) += 1);
    }
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    println!(
        "{kind:?}: {count} seeds, {happened} events, {:.0} seeds a minute; seen in {seen:?}",
        count as f64 / minutes
    );
    let missing: Vec<_> = expected.shows.iter().filter(|sight| !seen.contains_key(**sight)).collect();
    assert!(count < expected.seeds || missing.is_empty(), "no seed showed {missing:?}");
}

/// The name of an event that must occur at least once.
fn sight(what: &What) -> Option<&'static str> {
    Some(match what {
        What::Crashed { at, .. } => at.unwrap_or("killed"),
        What::PowerCut => "power cut",
        What::CommitFailed => "commit failed",
        What::Drained(_) => "shut down",
        What::Redriving { .. } => "redriven",
        What::Purging { .. } => "purged",
        What::Settled { outcome: Outcome::Stale, .. } => "stale",
        What::Settled { outcome: Outcome::Failed, .. } => "not settled",
        What::End { dead, .. } if dead.iter().any(|dead| dead.reason == "crash") => "dead by crash",
        What::End { expired: 1.., .. } => "expired",
        _ => return None,
    })
}

/// The events that occur with both stores.
const SHOWN: [&str; 13] = [
    "leased",
    "before-guest",
    "guest-ok",
    "acked",
    "ack-committing",
    "ack-committed",
    "killed",
    "shut down",
    "redriven",
    "purged",
    "stale",
    "not settled",
    "expired",
];

#[test]
fn in_memory_no_seed_violates_an_invariant() {
    nothing_is_violated(Kind::Memory, &Expected { seeds: 400, shows: &SHOWN });
}

#[test]
fn on_a_queue_file_no_seed_violates_an_invariant() {
    let of_file = ["flight-noted", "power cut", "committing", "committed", "dead-letter-moving", "commit failed"];
    nothing_is_violated(Kind::Sqlite, &Expected { seeds: 120, shows: &[&SHOWN[..], &of_file].concat() });
}

#[test]
fn the_same_seed_is_the_same_history() {
    for (kind, count) in [(Kind::Memory, 20), (Kind::Sqlite, 5)] {
        for seed in 0..count {
            let first = tried(seed, kind, None).1;
            let second = tried(seed, kind, None).1;
            let differs = first.iter().zip(&second).find(|(first, second)| first != second);
            assert_eq!((differs, first.len()), (None, second.len()), "seed {seed}, {kind:?}");
        }
    }
}
