//! Checks the checkers: breaks wasmpost on purpose, in one way after another, until a seed shows each.

use std::collections::BTreeSet;
use std::fmt::Write;

use wasmpost_delivery::prove::Break;

use crate::checker::Violation;
use crate::plan::Kind;
use crate::{tried, variable};

/// How many seeds may pass before a break counts as missed.
const SEEDS: u64 = 300;
/// How many seeds that show a break are looked at, to see which invariants do.
const SHOWN: usize = 3;

/// The seeds and invariants that showed a break.
struct Caught {
    seed: u64,
    invariants: BTreeSet<&'static str>,
}

fn caught(by: Break, kind: Kind) -> Option<Caught> {
    let mut found: Option<Caught> = None;
    let mut shown = 0;
    for seed in 0..variable("WASMPOST_SEEDS").unwrap_or(SEEDS).max(SEEDS) {
        let (_, _, violations): (_, _, Vec<Violation>) = tried(seed, kind, Some(by));
        if violations.is_empty() {
            // A break that a rare seed shows is caught; more seeds are not worth the wait.
            if found.as_ref().is_some_and(|caught| seed > 2 * caught.seed + 10) {
                break;
            }
            continue;
        }
        let caught = found.get_or_insert(Caught { seed, invariants: BTreeSet::new() });
        caught.invariants.extend(violations.iter().map(|violation| violation.invariant));
        shown += 1;
        if shown == SHOWN {
            break;
        }
    }
    found
}

/// Whether a store can have a break: in memory nothing is committed, and nothing lost with the process.
fn is_possible(by: Break, kind: Kind) -> bool {
    kind == Kind::Sqlite || !matches!(by, Break::AckBeforeCommit | Break::FsyncSkipped | Break::FlightIgnored)
}

#[test]
fn each_break_is_caught() {
    let mut table = String::new();
    let mut rows = String::new();
    let mut missed = Vec::new();
    for by in Break::ALL {
        for (kind, harness) in [(Kind::Memory, "simulation in memory"), (Kind::Sqlite, "simulation on a queue file")] {
            if !is_possible(by, kind) {
                continue;
            }
            let caught = caught(by, kind);
            let told = caught.as_ref().map_or("missed".to_owned(), |caught| {
                let invariants: Vec<_> = caught.invariants.iter().copied().collect();
                format!("caught by {}, first by seed {}", invariants.join(" "), caught.seed)
            });
            writeln!(table, "{:<18} {harness:<28} {told}", by.name()).unwrap();
            writeln!(rows, "{}\t{harness}\t{told}", by.name()).unwrap();
            missed.extend(caught.is_none().then(|| format!("{} by the {harness}", by.name())));
        }
    }
    println!("{table}");
    if let Some(path) = std::env::var_os("WASMPOST_BREAKS_TABLE") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, rows.as_bytes()).unwrap();
    }
    assert!(missed.is_empty(), "missed: {missed:?}");
}
