//! A histogram that is written without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of values, by upper bounds. Values are whole numbers of some unit.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// The counts of a histogram at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// The upper bounds.
    pub bounds: &'static [u64],
    /// How many values there were below each bound and the one before, and above all.
    pub counts: Vec<u64>,
    /// The sum of all values.
    pub sum: u64,
}

impl Histogram {
    /// Counts nothing so far.
    pub fn new(bounds: &'static [u64]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    /// Counts a value.
    pub fn record(&self, value: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// The counts so far.
    pub fn counts(&self) -> Counts {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Counts { bounds: self.bounds, counts, sum: self.sum.load(Ordering::Relaxed) }
    }
}

impl Counts {
    /// How many values there were.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// A bound below which this share of the values lies; none without values, or where they are above all bounds.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let wanted = (self.total() as f64 * share).ceil() as u64;
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted && wanted > 0
        })?;
        self.bounds.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_below_the_first_bound_that_it_does_not_exceed() {
        let histogram = Histogram::new(&[10, 100]);
        [0, 10, 11, 100, 101, 1000].iter().for_each(|value| histogram.record(*value));
        let counts = histogram.counts();
        assert_eq!((counts.counts.as_slice(), counts.sum, counts.total()), (&[2, 2, 2][..], 1222, 6));
        assert_eq!((counts.quantile(0.3), counts.quantile(0.6), counts.quantile(1.0)), (Some(10), Some(100), None));
        assert_eq!(Histogram::new(&[10]).counts().quantile(0.5), None);
    }
}
