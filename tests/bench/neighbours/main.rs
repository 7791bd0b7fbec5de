//! The effect of a tenant that attacks on a well-behaved one: latency at the same load without and with the attack, in
//! one run.
//!
//! Open loop: messages are sent at fixed times, independent of earlier ones, and the latency counts from the time at
//! which a message was to be sent. So a host that stalls is not measured less often than one that does not.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing)] // A program for people to look at.

mod attack;
mod load;

use std::time::Duration;

use attack::{ATTACKS, Attack};
use load::{Arena, Seen};

/// How many times each attack is measured, without and with it in turn.
const ROUNDS: usize = 5;
/// How long each measurement sends.
const PHASE: Duration = Duration::from_secs(2);
/// The share of its capacity alone at which the neighbour works.
const LOAD: f64 = 0.3;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("compile-component", settings)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        // The host here has this program compile, as the host of the command line has itself.
        return wasmpost_sandbox::compile_for_parent(settings).unwrap();
    }
    let name = std::env::args().nth(1).filter(|name| !name.starts_with('-'));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let capacity = Arena::start(None).await.capacity().await;
        let rate = capacity * LOAD;
        println!("neighbour alone: {capacity:.0} messages/s; sent {rate:.0}/s, {ROUNDS} rounds of {PHASE:?} each\n");
        println!(
            "{:<44} {:>9} {:>9} {:>9} {:>9} {:>7} {:>7} {:>10} {:>5}",
            "attack (without -> with)", "p50", "p50", "p99", "p99", "p99 x", "p99 +", "throughput", "lost"
        );
        for attack in ATTACKS.iter().filter(|attack| name.as_deref().is_none_or(|name| attack.id.starts_with(name))) {
            measure(attack, rate).await;
        }
    });
    runtime.shutdown_background();
}

async fn measure(attack: &'static Attack, rate: f64) {
    let mut without = Vec::new();
    let mut with = Vec::new();
    for _ in 0..ROUNDS {
        without.push(Arena::start(None).await.send(rate, PHASE).await);
        with.push(Arena::start(Some(attack)).await.send(rate, PHASE).await);
    }
    let median = |seen: &[Seen], of: fn(&Seen) -> f64| {
        let mut all: Vec<f64> = seen.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let columns: [fn(&Seen) -> f64; 3] = [|seen| seen.p50, |seen| seen.p99, |seen| seen.throughput];
    let [p50, p99, throughput] = columns.map(|of| (median(&without, of), median(&with, of)));
    let lost: usize = with.iter().map(|seen| seen.lost).sum();
    println!(
        "{:<44} {:>6.2} ms {:>6.2} ms {:>6.2} ms {:>6.2} ms {:>7.2} {:>4.1} ms {:>10.2} {:>5}",
        format!("{} {}", attack.id, attack.what),
        p50.0 * 1e3,
        p50.1 * 1e3,
        p99.0 * 1e3,
        p99.1 * 1e3,
        p99.1 / p99.0,
        (p99.1 - p99.0) * 1e3,
        throughput.1 / throughput.0,
        lost
    );
}
