//! Counts of deliveries, for metrics and the page. Nothing is counted unless there is an admin listener.

mod histogram;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use wasmpost_delivery::{Observer, Settled, Verdict};
use wasmpost_msg::Reason;

pub use histogram::{Counts, Histogram};

/// Bounds of times, in microseconds: those that OpenTelemetry advises for processing messages, and finer ones below.
const TIMES: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000,
    2_500_000, 5_000_000, 7_500_000, 10_000_000, 60_000_000,
];
/// Bounds of memory, in bytes.
const SIZES: &[u64] = &[
    64 << 10,
    256 << 10,
    1 << 20,
    2 << 20,
    4 << 20,
    8 << 20,
    16 << 20,
    32 << 20,
    64 << 20,
    128 << 20,
    256 << 20,
    1 << 30,
];

/// How deliveries ended.
pub const OUTCOMES: [&str; 4] = ["acked", "failed", "dead", "given-back"];

/// How components were loaded.
const LOADS: [&str; 3] = ["cached", "compiled", "refused"];

/// How a component was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Its code was in the cache.
    Cached,
    /// It was compiled.
    Compiled,
    /// It was refused.
    Refused,
}

/// The meters of all receivers, and of loading components.
#[derive(Debug, Default)]
pub struct Meters {
    receivers: RwLock<HashMap<String, Arc<Meter>>>,
    loads: [AtomicU64; LOADS.len()],
}

/// Counts of the deliveries of one receiver, without a lock.
#[derive(Debug)]
pub struct Meter {
    /// Acknowledged deliveries.
    acked: AtomicU64,
    /// Others by outcome and reason.
    others: Vec<[AtomicU64; OUTCOMES.len()]>,
    /// Messages that were published.
    published: AtomicU64,
    /// From the start of an attempt until it was settled, by whether it was acknowledged; in microseconds.
    pub processed: Histogram,
    /// The same for those that were not.
    pub not_processed: Histogram,
    /// CPU time, in microseconds.
    pub cpu: Histogram,
    /// Time within the guest, in microseconds.
    pub wall: Histogram,
    /// The most memory that a delivery held, in bytes.
    pub memory: Histogram,
    /// Told as well, where the program that runs the host wants to be.
    other: Option<Arc<dyn Observer>>,
}

impl Meters {
    /// The meter of a receiver, made where there is none; the other observer is told as well.
    pub fn of(&self, receiver: &str, other: Option<Arc<dyn Observer>>) -> Arc<Meter> {
        Arc::clone(self.receivers.write().entry(receiver.to_owned()).or_insert_with(|| Arc::new(Meter::new(other))))
    }

    /// Counts a component that was loaded.
    pub fn loaded(&self, load: Load) {
        if let Some(count) = self.loads.get(load as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many components were loaded, by how.
    pub fn loads(&self) -> impl Iterator<Item = (&'static str, u64)> {
        LOADS.iter().zip(&self.loads).map(|(word, count)| (*word, count.load(Ordering::Relaxed)))
    }

    /// The meter of a receiver, if there is one.
    pub fn find(&self, receiver: &str) -> Option<Arc<Meter>> {
        self.receivers.read().get(receiver).cloned()
    }
}

impl Meter {
    fn new(other: Option<Arc<dyn Observer>>) -> Self {
        Self {
            acked: AtomicU64::new(0),
            others: Reason::ALL.iter().map(|_| std::array::from_fn(|_| AtomicU64::new(0))).collect(),
            published: AtomicU64::new(0),
            processed: Histogram::new(TIMES),
            not_processed: Histogram::new(TIMES),
            cpu: Histogram::new(TIMES),
            wall: Histogram::new(TIMES),
            memory: Histogram::new(SIZES),
            other,
        }
    }

    /// Acknowledged deliveries.
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Messages that were published.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Deliveries that were not acknowledged: outcome, reason and how many, those alone of which there are some.
    pub fn others(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        Reason::ALL.iter().zip(&self.others).flat_map(|(reason, counts)| {
            let counted = OUTCOMES.iter().zip(counts).map(|(outcome, count)| (*outcome, count.load(Ordering::Relaxed)));
            counted.filter(|(_, count)| *count > 0).map(|(outcome, count)| (outcome, reason.as_str(), count))
        })
    }
}

impl Observer for Meter {
    fn wants_published(&self) -> bool {
        self.other.as_ref().is_some_and(|other| other.wants_published())
    }

    fn settled(&self, settled: &Settled<'_>) {
        let reason = settled.error.map(|error| error.reason());
        match (outcome(settled.verdict), reason.map(|reason| reason as usize)) {
            (0, _) | (_, None) => {
                self.acked.fetch_add(1, Ordering::Relaxed);
                self.published.fetch_add(settled.published_messages as u64, Ordering::Relaxed);
                self.processed.record(micros(settled.took));
            }
            (outcome, Some(reason)) => {
                if let Some(count) = self.others.get(reason).and_then(|counts| counts.get(outcome)) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                self.not_processed.record(micros(settled.took));
            }
        }
        // A delivery that no guest had used nothing.
        if settled.usage.component.is_some() {
            self.cpu.record(micros(settled.usage.cpu));
            self.wall.record(micros(settled.usage.wall));
            self.memory.record(settled.usage.memory_peak_bytes);
        }
        if let Some(other) = &self.other {
            other.settled(settled);
        }
    }
}

/// The place of an outcome in [`OUTCOMES`].
fn outcome(verdict: Verdict) -> usize {
    match verdict {
        Verdict::Ack => 0,
        Verdict::Nack { counted: true, .. } => 1,
        Verdict::DeadLetter { .. } => 2,
        Verdict::Nack { counted: false, .. } => 3,
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
