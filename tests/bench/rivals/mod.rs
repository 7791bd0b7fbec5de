//! The durable queue beside durable queues that people would otherwise take, with the same messages and the same
//! durability, in turn: throughput, CPU time, and latency at half of what each can do.

mod alone;
mod foreign;
mod own;

use std::time::Duration;

use crate::measure::{By, Row, Sample, median};
use crate::report::Report;

/// Messages of each measurement; each of 64 publishers has as many.
const MESSAGES: usize = 100 * 64;
/// Warms up before what counts.
const WARMUP: usize = 10 * 64;
/// How long latency is measured in each round.
const LATENCY: Duration = Duration::from_secs(4);

/// A durable queue with a handler that does nothing.
trait Rival {
    /// The ids of rows and figures, and the name that people read.
    fn name(&self) -> (&'static str, String);

    /// Has 64 publishers publish so many messages, each waiting for its confirmation.
    fn publish(&mut self, messages: usize) -> Sample;

    /// Handles so many messages that are there.
    fn serve(&mut self, messages: usize) -> Sample;

    /// Publishes so many a second at fixed times, handles them meanwhile, and tells the time from when each was due to when
    /// it was acknowledged, in microseconds: at the 50th, 99th and 99.9th percentile. None where it does not handle what is
    /// published meanwhile.
    fn latency(&mut self, rate: usize, duration: Duration) -> Option<[f64; 3]>;
}

pub(crate) fn run(report: &mut Report, rounds: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut rivals: Vec<Box<dyn Rival>> = vec![Box::new(own::Own::new("fresh", 1))];
    rivals.push(Box::new(own::Own::new("reused", u32::MAX)));
    rivals.push(Box::new(alone::Alone::new()));
    for kind in foreign::KINDS {
        match runtime.block_on(foreign::Foreign::start(*kind)) {
            Ok(rival) => rivals.push(Box::new(rival)),
            Err(missing) => report.note(format!("{kind}: {missing}")),
        }
    }
    for rival in &mut rivals {
        rival.publish(WARMUP);
        rival.serve(WARMUP);
    }
    let row = |what: &str, rival: &dyn Rival| {
        let (id, name) = rival.name();
        Row::new(format!("rival-{what}-{id}"), name)
    };
    let mut published: Vec<Row> = rivals.iter().map(|rival| row("publish", &**rival)).collect();
    let mut served: Vec<Row> = rivals.iter().map(|rival| row("serve", &**rival)).collect();
    let mut whole: Vec<Row> = rivals.iter().map(|rival| row("whole", &**rival)).collect();
    for round in 0..rounds {
        for step in 0..rivals.len() {
            let at = (step + round) % rivals.len();
            let publishing = rivals[at].publish(MESSAGES);
            let serving = rivals[at].serve(MESSAGES);
            published[at].add(publishing, MESSAGES);
            served[at].add(serving, MESSAGES);
            let both = Sample { wall: publishing.wall + serving.wall, cpu: publishing.cpu + serving.cpu };
            whole[at].add(both, MESSAGES);
        }
    }
    let rates: Vec<usize> = whole.iter().map(|row| (0.5 / row.median(By::Wall)) as usize).collect();
    report.group("durable queues, 64 publishers, each waits for the disk", By::Wall, published);
    report.group("durable queues, messages handled and acknowledged, 16 at a time", By::Wall, served);
    report.group("durable queues, both one after the other", By::Wall, whole);
    latencies(report, &mut rivals, &rates, rounds.min(3));
}

/// In turn, each at half of what it can do.
fn latencies(report: &mut Report, rivals: &mut [Box<dyn Rival>], rates: &[usize], rounds: usize) {
    let mut seen: Vec<Vec<[f64; 3]>> = rivals.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (at, rival) in rivals.iter_mut().enumerate() {
            seen[at].extend(rival.latency(rates[at], LATENCY));
        }
    }
    for (at, rival) in rivals.iter().enumerate() {
        let (id, name) = rival.name();
        if seen[at].is_empty() {
            continue;
        }
        for (place, part) in ["p50", "p99", "p99.9"].iter().enumerate() {
            let value = median(seen[at].iter().map(|times| times[place]).collect());
            let what = format!("{name}, {} a second: publish to acked, {part}", rates[at]);
            report.figure(&format!("rival-latency-{id}-{part}"), &what, value, "µs");
        }
    }
}

/// The percentiles of some times.
fn percentiles(mut micros: Vec<f64>) -> [f64; 3] {
    micros.sort_by(f64::total_cmp);
    [0.5, 0.99, 0.999].map(|part| micros[((micros.len() as f64 * part) as usize).min(micros.len() - 1)])
}
