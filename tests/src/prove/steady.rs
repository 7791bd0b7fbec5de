//! Whether a process that works on and on stays as it was.

use std::fmt::Write;

use crate::prove::account::Fault;

/// The resources of a process at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sample {
    /// Milliseconds since the first one.
    pub at_ms: u64,
    /// Memory that is its own and in use, in KiB.
    pub memory_kib: u64,
    /// Open files.
    pub files: u64,
    /// Threads.
    pub threads: u64,
    /// Deliveries in flight.
    pub in_flight: u64,
    /// Memory of all instances, in KiB.
    pub instances_kib: u64,
    /// The queue file, in KiB.
    pub database_kib: u64,
    /// Its write-ahead log, in KiB.
    pub log_kib: u64,
    /// Messages that wait.
    pub waiting: u64,
    /// Messages that have ended.
    pub ended: u64,
}

/// A value of a sample that may not grow, and the tolerance: an absolute one, or a share of its median.
type Bound = (&'static str, fn(&Sample) -> u64, u64, f64);

const BOUNDS: &[Bound] = &[
    // Interpreters that are used again and again take some at any time.
    ("memory", |sample| sample.memory_kib, 24 << 10, 0.15),
    ("open files", |sample| sample.files, 6, 0.0),
    ("threads", |sample| sample.threads, 3, 0.0),
    ("queue file", |sample| sample.database_kib, 8 << 10, 0.1),
    // Under constant load it only starts over when it is this long.
    ("log of the queue file", |sample| sample.log_kib, 72 << 10, 0.0),
];

/// A run that is shorter only warms up: each kind of component takes its memory with its first messages.
const WARM_MS: f64 = 60_000.0;
/// The growth that all kinds together may have while they warm up, in multiples of that of a run.
const WARMING: u64 = 6;

/// The values that grew. The first third of the samples is for warming up.
pub fn growth(samples: &[Sample]) -> Vec<Fault> {
    let times = if span(samples) < WARM_MS { WARMING } else { 1 };
    let steady = samples.get(samples.len() / 3..).unwrap_or_default();
    let grown = BOUNDS.iter().filter_map(|(name, value, least, share)| {
        let mut values: Vec<u64> = steady.iter().map(value).collect();
        values.sort_unstable();
        let median = values.get(values.len() / 2).copied().unwrap_or(0);
        let grown = slope(steady, *value) * span(steady);
        let most = ((*least * times) as f64).max(median as f64 * share);
        (grown > most).then(|| Fault::new("I12", format!("{name} grew by {grown:.0}, at a median of {median}")))
    });
    grown.collect()
}

/// How much a value grows in a minute, by the line that fits its samples best.
pub fn slope_a_minute(samples: &[Sample], value: fn(&Sample) -> u64) -> f64 {
    slope(samples.get(samples.len() / 3..).unwrap_or_default(), value) * 60_000.0
}

fn span(samples: &[Sample]) -> f64 {
    let at = |sample: Option<&Sample>| sample.map_or(0.0, |sample| sample.at_ms as f64);
    at(samples.last()) - at(samples.first())
}

/// By the millisecond.
fn slope(samples: &[Sample], value: fn(&Sample) -> u64) -> f64 {
    let count = samples.len().max(1) as f64;
    let mean = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let middle = mean(&|sample| sample.at_ms as f64);
    let level = mean(&|sample| value(sample) as f64);
    let mut above = 0.0;
    let mut below = 0.0;
    for sample in samples {
        let distance = sample.at_ms as f64 - middle;
        above += distance * (value(sample) as f64 - level);
        below += distance * distance;
    }
    if below == 0.0 { 0.0 } else { above / below }
}

/// About so many of the samples, one line for each.
pub fn table(samples: &[Sample], rows: usize) -> String {
    let mut text =
        "  time s  memory MiB  files  threads  in flight  instances MiB  file MiB  log MiB  waiting    ended\n"
            .to_owned();
    let every = samples.len().div_ceil(rows.max(1)).max(1);
    let last = samples.len().saturating_sub(1);
    for (_, sample) in samples.iter().enumerate().filter(|(at, _)| at % every == 0 || *at == last) {
        let mebibytes = |kib: u64| kib as f64 / 1024.0;
        let Sample { files, threads, in_flight, waiting, ended, .. } = sample;
        // A string takes all.
        let _ = writeln!(
            text,
            "{:8.0}  {:10.1}  {files:5}  {threads:7}  {in_flight:9}  {:13.1}  {:8.1}  {:7.1}  {waiting:7}  {ended:7}",
            sample.at_ms as f64 / 1000.0,
            mebibytes(sample.memory_kib),
            mebibytes(sample.instances_kib),
            mebibytes(sample.database_kib),
            mebibytes(sample.log_kib),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(memory: impl Fn(u64) -> u64, files: impl Fn(u64) -> u64) -> Vec<Sample> {
        let sample = |at: u64| Sample {
            at_ms: at * 1000,
            memory_kib: memory(at),
            files: files(at),
            threads: 20,
            ..Sample::default()
        };
        (0..90).map(sample).collect()
    }

    #[test]
    fn figures_that_go_up_and_down_or_only_grow_at_first_are_steady() {
        let found = growth(&samples(|at| 100_000 + at.min(20) * 3000 + at % 7 * 900, |at| 40 + at % 3));
        assert_eq!(found, []);
    }

    #[test]
    fn a_figure_that_grows_on_and_on_is_told() {
        let found = growth(&samples(|at| 100_000 + at * 600, |_| 40));
        assert!(found.len() == 1 && found[0].text.starts_with("memory grew by"), "{found:?}");
        let found = growth(&samples(|_| 100_000, |at| 40 + at / 5));
        assert!(found.len() == 1 && found[0].text.starts_with("open files grew"), "{found:?}");
    }

    #[test]
    fn a_slope_is_told_by_the_minute() {
        assert_eq!(slope_a_minute(&samples(|at| 5 * at, |_| 1), |sample| sample.memory_kib).round(), 300.0);
    }
}
