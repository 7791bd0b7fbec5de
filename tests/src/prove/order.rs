//! Accounting for what happened when: attempts that grow, leases that exclude each other, keys, delays.

use std::collections::{BTreeMap, BTreeSet};

use crate::prove::account::{Fault, Rules};
use crate::prove::letter::Letter;
use crate::prove::log::{Event, What};
use crate::prove::seen::{Ledger, Life};

/// The log tells whole milliseconds, and two clocks are read for one moment.
const TOLERANCE_MS: u64 = 2;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The place of a message among those sent, its id, and the numbers of its first and last beginning.
type Begun<'a> = (usize, &'a str, (usize, usize));

/// The record of a message so far.
#[derive(Default)]
struct History {
    attempt: u32,
    deliveries: u32,
    /// The numbers of its first and last beginning among all that happened.
    begun: Option<(usize, usize)>,
    has_ended: bool,
}

/// Adds faults in the order of events.
pub fn check(ledger: &Ledger, lives: &[Life], rules: Rules, faults: &mut Vec<Fault>) {
    let mut histories: BTreeMap<&str, History> = BTreeMap::new();
    let mut number = 0;
    for life in lives {
        for event in &life.events {
            number += 1;
            if let What::Begin(attempt) = event.what {
                begin(event, attempt, number, histories.entry(&event.id).or_default(), faults);
            }
        }
        acked(life, faults);
        in_flight(life, rules, faults);
        delays(life, faults);
        stored(life, &mut histories, faults);
    }
    keys(ledger, &histories, faults);
}

fn begin(event: &Event, attempt: u32, number: usize, history: &mut History, faults: &mut Vec<Fault>) {
    let Event { id, .. } = event;
    if history.has_ended {
        faults.push(Fault::new("I3", format!("{id:?} had ended, and was delivered again")));
    }
    if attempt <= history.attempt.max(history.deliveries) && history.begun.is_some() {
        let text =
            format!("attempt {attempt} at {id:?} came after attempt {}", history.attempt.max(history.deliveries));
        faults.push(Fault::new("I4", text));
    }
    history.attempt = attempt.max(history.attempt);
    let first = history.begun.map_or(number, |(first, _)| first);
    history.begun = Some((first, number));
}

/// Checks the file at the end of a life.
fn stored<'a>(life: &'a Life, histories: &mut BTreeMap<&'a str, History>, faults: &mut Vec<Fault>) {
    let waiting = life.after.waiting.iter().map(|waiting| (waiting.id.as_str(), waiting.deliveries));
    for (id, deliveries) in waiting.chain(life.after.dead.iter().map(|dead| (dead.id.as_str(), dead.deliveries))) {
        let history = histories.entry(id).or_default();
        let least = history.attempt.max(history.deliveries);
        // One that was in flight when the process ended is counted by the next: the flight file tells of it.
        let is_counted_later = last_begun(life, id) == Some(least) && deliveries + 1 == least;
        if deliveries < least && !is_counted_later {
            faults.push(Fault::new("I4", format!("{id:?} was delivered {least} times, and {deliveries} are stored")));
        }
        history.deliveries = deliveries.max(history.deliveries);
    }
    let ended = life.after.dead.iter().map(|dead| &dead.id).chain(life.after.copies.iter().map(|copy| &copy.source));
    for id in ended {
        histories.entry(id).or_default().has_ended = true;
    }
}

/// The number of the last attempt at a message in a life.
fn last_begun(life: &Life, id: &str) -> Option<u32> {
    life.events.iter().rev().find_map(|event| match event.what {
        What::Begin(attempt) if event.id == id => Some(attempt),
        _ => None,
    })
}

/// How many messages were in flight when a process ended.
pub fn interrupted(life: &Life) -> usize {
    let mut open: BTreeSet<&str> = BTreeSet::new();
    for Event { id, what, .. } in &life.events {
        let _ = if matches!(what, What::Begin(_)) { open.insert(id) } else { open.remove(id.as_str()) };
    }
    open.len()
}

/// Checks that messages with a logged ack are acked when the process ends: each acked message leaves a trace.
fn acked(life: &Life, faults: &mut Vec<Fault>) {
    let left: BTreeSet<&str> = life.after.copies.iter().map(|copy| copy.source.as_str()).collect();
    for Event { id, .. } in life.events.iter().filter(|event| event.what == What::Acked) {
        if !left.contains(id.as_str()) {
            faults.push(Fault::new("I3", format!("{id:?} was acked, and is not any more")));
        }
    }
}

/// One attempt at a message at a time, and not more messages than allowed.
fn in_flight(life: &Life, rules: Rules, faults: &mut Vec<Fault>) {
    let mut open: BTreeSet<&str> = BTreeSet::new();
    for Event { id, what, .. } in &life.events {
        match what {
            What::Begin(attempt) => {
                if !open.insert(id) {
                    faults.push(Fault::new("I7", format!("attempt {attempt} at {id:?} began during another")));
                }
                if open.len() > rules.concurrency {
                    faults.push(Fault::new("I10", format!("{} in flight: {open:?}", open.len())));
                }
            }
            What::End(_) | What::Failed(..) | What::Acked | What::Over => {
                open.remove(id.as_str());
            }
        }
    }
}

/// Nothing is delivered again before its delay has passed, unless the process ended meanwhile.
fn delays(life: &Life, faults: &mut Vec<Fault>) {
    let mut not_before: BTreeMap<&str, u64> = BTreeMap::new();
    for Event { at, id, what } in &life.events {
        match what {
            What::Failed(_, delay) => drop(not_before.insert(id, at + delay)),
            What::Begin(attempt) => {
                let Some(earliest) = not_before.remove(id.as_str()) else { continue };
                let at = if at + DAY_MS / 2 < earliest { at + DAY_MS } else { *at };
                if at + TOLERANCE_MS < earliest {
                    let early = earliest - at;
                    faults.push(Fault::new("I5", format!("attempt {attempt} at {id:?} came {early} ms early")));
                }
            }
            _ => {}
        }
    }
}

/// Messages with one key, by one publisher, come in the order sent, each after the end of the one before.
fn keys(ledger: &Ledger, histories: &BTreeMap<&str, History>, faults: &mut Vec<Fault>) {
    let mut by_key: BTreeMap<String, Vec<Begun<'_>>> = BTreeMap::new();
    for (id, sent) in ledger.sent.iter().filter(|(_, sent)| !sent.again) {
        let begun = histories.get(id.as_str()).and_then(|history| history.begun);
        if let (Some(key), Some(begun)) = (Letter::of(id).key, begun) {
            by_key.entry(key).or_default().push((sent.place, id, begun));
        }
    }
    for (key, mut sent) in by_key {
        sent.sort_unstable();
        for pair in sent.windows(2) {
            let [(_, before, (_, last)), (_, after, (first, _))] = pair else { continue };
            if last > first {
                let text = format!("{after:?} began before {before:?} had ended; both have {key:?}");
                faults.push(Fault::new("I9", text));
            }
        }
    }
}
