//! Accounting for every message: what was sent against what the queue file holds.

use std::collections::{BTreeMap, BTreeSet};

use crate::prove::letter::Letter;
use crate::prove::order;
use crate::prove::seen::{Copy, Dead, Ledger, Life, Snapshot, Standing};

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The invariant that it breaks, such as `I1`.
    pub invariant: &'static str,
    /// Its description.
    pub text: String,
}

/// How the host was set up.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// How many messages may be in flight at a time.
    pub concurrency: usize,
    /// With how many crashes a message becomes a dead letter.
    pub crashes_max: u32,
}

/// Where the messages of a snapshot are.
struct Places<'a> {
    waiting: BTreeSet<&'a str>,
    dead: BTreeSet<&'a str>,
    copies: BTreeMap<&'a str, Vec<&'a Copy>>,
}

impl Fault {
    /// Breaks `invariant`.
    pub fn new(invariant: &'static str, text: impl Into<String>) -> Self {
        Self { invariant, text: text.into() }
    }
}

/// All faults after these lives. `drained` says that the last one ended because nothing was left to do.
pub fn faults(ledger: &Ledger, lives: &[Life], rules: Rules, drained: bool) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (number, life) in lives.iter().enumerate() {
        snapshot(ledger, number, &life.after, rules, &mut faults);
    }
    if let Some(last) = lives.last().filter(|_| drained) {
        left(&last.after, &mut faults);
    }
    order::check(ledger, lives, rules, &mut faults);
    faults
}

/// Fails with all faults, the first ones in full.
#[track_caller]
pub fn assert_none(faults: &[Fault]) {
    let shown: Vec<_> = faults.iter().take(20).map(|fault| format!("{}: {}", fault.invariant, fault.text)).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), shown.join("\n"));
}

fn snapshot(ledger: &Ledger, life: usize, snapshot: &Snapshot, rules: Rules, faults: &mut Vec<Fault>) {
    faults.extend(snapshot.damage.iter().map(|damage| Fault::new("I14", damage)));
    let places = places(snapshot, faults);
    for (id, sent) in &ledger.sent {
        let waits = places.waiting.contains(id.as_str());
        let is_dead = places.dead.contains(id.as_str());
        let is_acked = places.copies.contains_key(id.as_str());
        let found = usize::from(waits) + usize::from(is_dead) + usize::from(is_acked);
        if found > 1 {
            let text = format!("{id:?}: waits {waits}, dead {is_dead}, its copies are there {is_acked}");
            faults.push(Fault::new(if is_acked { "I11" } else { "I8" }, text));
        }
        // A message that was confirmed in a later life need not have been there at the end of this one.
        if found == 0 && sent.standing == Standing::Confirmed && sent.life <= life {
            faults.push(Fault::new("I1", format!("{id:?} was confirmed and is lost")));
        }
        if found > 0 && sent.standing == Standing::Refused {
            faults.push(Fault::new("I13", format!("{id:?} was refused and is there")));
        }
    }
    let all = places.waiting.iter().chain(&places.dead).chain(places.copies.keys());
    let unknown = all.filter(|id| !ledger.sent.contains_key(**id));
    faults.extend(unknown.map(|id| Fault::new("I2", format!("{id:?} was never sent"))));
    if snapshot.acked != places.copies.len() {
        let text = format!("{} were acked, and {} have copies", snapshot.acked, places.copies.len());
        faults.push(Fault::new("I11", text));
    }
    contents(snapshot, &places, faults);
    crashes(snapshot, rules, faults);
}

fn places<'a>(snapshot: &'a Snapshot, faults: &mut Vec<Fault>) -> Places<'a> {
    let mut places = Places { waiting: BTreeSet::new(), dead: BTreeSet::new(), copies: BTreeMap::new() };
    for waiting in &snapshot.waiting {
        if !places.waiting.insert(&waiting.id) {
            faults.push(Fault::new("I1", format!("{:?} waits twice", waiting.id)));
        }
    }
    for dead in &snapshot.dead {
        if !places.dead.insert(&dead.id) {
            faults.push(Fault::new("I8", format!("{:?} died twice", dead.id)));
        }
    }
    for copy in &snapshot.copies {
        places.copies.entry(&copy.source).or_default().push(copy);
    }
    places
}

/// Checks that every message is as sent, byte for byte, and was published by an attempt that may publish.
fn contents(snapshot: &Snapshot, places: &Places<'_>, faults: &mut Vec<Fault>) {
    let waiting = snapshot.waiting.iter().map(|waiting| (&waiting.id, waiting.digest));
    for (id, digest) in waiting.chain(snapshot.dead.iter().map(|dead| (&dead.id, dead.digest))) {
        if Letter::of(id).digest() != digest {
            faults.push(Fault::new("I2", format!("{id:?} is not what was sent")));
        }
    }
    for (source, copies) in &places.copies {
        let letter = Letter::of(source);
        let mut numbers: Vec<_> = copies.iter().map(|copy| copy.number.as_str()).collect();
        numbers.sort_unstable();
        let expected: Vec<_> = (0..letter.copies()).map(|number| number.to_string()).collect();
        if numbers != expected {
            let text = format!("{source:?} left {numbers:?} and should have left {expected:?}");
            // A message that only a dropped writer can have left violates the rule about dropped writers.
            let invariant = if numbers.contains(&"dropped") { "I17" } else { "I11" };
            faults.push(Fault::new(invariant, text));
        }
        if copies.iter().any(|copy| copy.digest != letter.copy_digest()) {
            faults.push(Fault::new("I2", format!("a copy of {source:?} is not what was published")));
        }
        let attempts: BTreeSet<_> = copies.iter().map(|copy| copy.attempt).collect();
        if attempts.len() > 1 {
            faults.push(Fault::new("I11", format!("attempts {attempts:?} at {source:?} all published")));
        }
    }
}

fn crashes(snapshot: &Snapshot, rules: Rules, faults: &mut Vec<Fault>) {
    for waiting in snapshot.waiting.iter().filter(|waiting| waiting.crashes >= rules.crashes_max) {
        faults.push(Fault::new("promise 5", format!("{:?} ended the process too often and waits", waiting.id)));
    }
    for dead in &snapshot.dead {
        let expected = if dead.reason == "crash" { rules.crashes_max } else { 0 };
        if dead.crashes < expected || dead.deliveries < dead.crashes {
            let Dead { id, crashes, deliveries, .. } = dead;
            let text = format!("{id:?} died after {crashes} crashes in {deliveries} deliveries");
            faults.push(Fault::new("promise 5", text));
        }
        let letter = Letter::of(&dead.id);
        if dead.reason != "crash" && letter.dies_of() != Some(&dead.reason) {
            faults.push(Fault::new("I8", format!("{:?} died of {:?}: {:?}", dead.id, dead.reason, letter.wish)));
        }
    }
}

/// After a drain nothing waits, and nothing is in flight.
fn left(snapshot: &Snapshot, faults: &mut Vec<Fault>) {
    for waiting in &snapshot.waiting {
        let invariant = if waiting.is_leased { "I12" } else { "I16" };
        faults.push(Fault::new(invariant, format!("{:?} is left after a drain", waiting.id)));
    }
}

#[cfg(test)]
mod tests;
