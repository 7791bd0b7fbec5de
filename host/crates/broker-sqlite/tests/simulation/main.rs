//! Seeded simulations of delivery: the real server, retry policy and brokers, with time, disks, receivers, publishers and
//! every fault decided by one number. Each history is then held against the invariants.
//!
//! `WASMPOST_SEEDS` says how many numbers are tried, `WASMPOST_SEED` has one tried alone, and `WASMPOST_SHOW=1` has the
//! history printed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.
#![allow(unreachable_pub, missing_docs)] // A test has no other readers.

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

use checker::{Violation, check};
use history::Event;
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

#[track_caller]
fn nothing_is_violated(kind: Kind, seeds: std::ops::Range<u64>) {
    let (began, count) = (std::time::Instant::now(), seeds.end - seeds.start);
    let mut happened = 0;
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
    }
    let took = began.elapsed();
    println!(
        "{kind:?}: {count} seeds, {happened} events, {:.0} seeds a minute",
        count as f64 * 60.0 / took.as_secs_f64()
    );
}

#[test]
fn in_memory_no_seed_violates_an_invariant() {
    nothing_is_violated(Kind::Memory, seeds(400));
}

#[test]
fn on_a_queue_file_no_seed_violates_an_invariant() {
    nothing_is_violated(Kind::Sqlite, seeds(60));
}

#[test]
fn the_same_seed_is_the_same_history() {
    for (kind, count) in [(Kind::Memory, 20), (Kind::Sqlite, 5)] {
        for seed in 0..count {
            let (first, second) = (tried(seed, kind, None).1, tried(seed, kind, None).1);
            let differs = first.iter().zip(&second).find(|(first, second)| first != second);
            assert_eq!((differs, first.len()), (None, second.len()), "seed {seed}, {kind:?}");
        }
    }
}
