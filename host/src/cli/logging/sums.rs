//! Equal lines are summed: of each kind and receiver some are written, of the rest how many there were.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::Level;

use super::line::Line;

/// How many lines of a kind come through at once, and how many more each second.
pub(super) const LINES_AT_ONCE: f64 = 100.0;
const LINES_PER_SECOND: f64 = 10.0;
/// The same for the lines of a guest, in bytes of log.
pub(super) const GUEST_BYTES_AT_ONCE: f64 = (8 << 20) as f64;
const GUEST_BYTES_PER_SECOND: f64 = (1 << 20) as f64;
/// How often it is told how many more there were.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);
/// The most kinds and receivers that are told apart; the others share the budget of their kind.
const KINDS_MAX: usize = 16_384;

/// The key by which equal lines are summed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    /// The place in the code.
    pub(super) place: Place,
    /// The receiver that it is about, or else the queue; empty for neither.
    pub(super) about: String,
}

/// The origin of a line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// A line of the host's own.
    Host(tracing::callsite::Identifier),
    /// Any line of a guest.
    Guest,
}

/// The contents of the line that reports the others.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) level: Level,
    pub(super) target: &'static str,
    pub(super) message: String,
    /// `receiver` or `queue`.
    pub(super) about: &'static str,
}

/// How much of each kind there was.
#[derive(Default)]
pub(super) struct Sums(Mutex<HashMap<Kind, Sum>>);

struct Sum {
    left: f64,
    at: Instant,
    /// Those that were not written, since when, and how to tell of them.
    more: Option<More>,
}

struct More {
    lines: u64,
    since: Instant,
    model: Model,
}

/// The decision about a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admitted {
    /// It is written.
    Written,
    /// It is counted.
    Counted,
    /// It is counted as the first since the last sum.
    CountedFirst,
}

impl Place {
    fn rates(&self) -> (f64, f64) {
        match self {
            Self::Host(_) => (LINES_AT_ONCE, LINES_PER_SECOND),
            Self::Guest => (GUEST_BYTES_AT_ONCE, GUEST_BYTES_PER_SECOND),
        }
    }
}

impl Sums {
    /// Takes a line that costs `cost`, or counts it.
    pub(super) fn admit(&self, mut kind: Kind, cost: f64, now: Instant, model: impl FnOnce() -> Model) -> Admitted {
        let (at_once, per_second) = kind.place.rates();
        let mut sums = self.0.lock();
        if sums.len() >= KINDS_MAX && !sums.contains_key(&kind) {
            kind.about.clear();
        }
        let sum = sums.entry(kind).or_insert(Sum { left: at_once, at: now, more: None });
        sum.refill(now, at_once, per_second);
        if let Some(more) = &mut sum.more {
            // Lines are written in one piece: once one is counted, all are, until the count is reported.
            more.lines += 1;
            return Admitted::Counted;
        }
        if sum.left >= cost {
            sum.left -= cost;
            return Admitted::Written;
        }
        sum.more = Some(More { lines: 1, since: now, model: model() });
        Admitted::CountedFirst
    }

    /// The lines that tell of what was counted and is due, and when the next are.
    pub(super) fn due(&self, now: Instant) -> (Vec<Line>, Option<Instant>) {
        let mut lines = Vec::new();
        let mut next = None;
        let mut sums = self.0.lock();
        sums.retain(|kind, sum| {
            let (at_once, per_second) = kind.place.rates();
            sum.refill(now, at_once, per_second);
            let due = sum.more.as_ref().map(|more| more.since + INTERVAL);
            match due {
                Some(due) if due <= now => lines.extend(sum.more.take().map(|more| more.told(&kind.about, now))),
                Some(due) => next = Some(next.map_or(due, |next: Instant| next.min(due))),
                None => {}
            }
            // A sum in its initial state need not be kept.
            sum.more.is_some() || sum.left < at_once
        });
        (lines, next)
    }

    /// The same for all that was counted, at the end.
    pub(super) fn all(&self, now: Instant) -> Vec<Line> {
        let mut sums = self.0.lock();
        let told = sums.iter_mut().filter_map(|(kind, sum)| Some(sum.more.take()?.told(&kind.about, now)));
        told.collect()
    }
}

impl Sum {
    fn refill(&mut self, now: Instant, at_once: f64, per_second: f64) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        (self.left, self.at) = ((self.left + seconds * per_second).min(at_once), now);
    }
}

impl More {
    fn told(self, about: &str, now: Instant) -> Line {
        let Self { lines, since, model } = self;
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        let message = format!("{lines} more in {seconds:.1} s: {}", model.message);
        let line = Line::new(model.level, model.target, Some(message)).with("more", lines);
        if about.is_empty() { line } else { line.with(model.about, about) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        Model { level: Level::WARN, target: "wasmpost", message: "failed".into(), about: "receiver" }
    }

    fn guest(about: &str) -> Kind {
        Kind { place: Place::Guest, about: about.into() }
    }

    fn told(lines: &[Line]) -> Vec<(String, u64)> {
        let more = |line: &Line| line.fields.0.iter().find(|(name, _)| name == "more").unwrap().1.as_u64().unwrap();
        lines.iter().map(|line| (line.message.clone().unwrap(), more(line))).collect()
    }

    #[test]
    fn what_is_over_the_budget_is_counted_and_told_for_each_receiver() {
        let sums = Sums::default();
        let began = Instant::now();
        let line = GUEST_BYTES_AT_ONCE / 128.0;
        let admitted: Vec<_> = (0..178).map(|_| sums.admit(guest("loud"), line, began, model)).collect();
        assert_eq!(admitted.iter().filter(|admitted| **admitted == Admitted::Written).count(), 128);
        assert_eq!(admitted.iter().filter(|admitted| **admitted == Admitted::CountedFirst).count(), 1);
        assert_eq!(sums.admit(guest("quiet"), line, began, model), Admitted::Written, "another has its own");
        let (lines, next) = sums.due(began + INTERVAL / 2);
        assert!(lines.is_empty() && next == Some(began + INTERVAL));
        let (lines, next) = sums.due(began + INTERVAL);
        assert_eq!((told(&lines), next), (vec![("50 more in 10.0 s: failed".to_owned(), 50)], None));
        assert_eq!(sums.admit(guest("loud"), line, began + INTERVAL, model), Admitted::Written, "it has some again");
    }

    #[test]
    fn what_was_counted_is_told_at_the_end_too() {
        let sums = Sums::default();
        let began = Instant::now();
        for _ in 0..3 {
            sums.admit(guest("r"), GUEST_BYTES_AT_ONCE, began, model);
        }
        let lines = sums.all(began + Duration::from_secs(1));
        assert_eq!(told(&lines), [("2 more in 1.0 s: failed".to_owned(), 2)]);
        assert_eq!(lines[0].fields.0[1], ("receiver".to_owned(), "r".into()));
        assert!(sums.all(began).is_empty());
    }

    #[test]
    fn kinds_are_forgotten_and_their_number_is_bounded() {
        let sums = Sums::default();
        let began = Instant::now();
        for number in 0..KINDS_MAX + 100 {
            sums.admit(guest(&number.to_string()), 1.0, began, model);
        }
        assert_eq!(sums.0.lock().len(), KINDS_MAX + 1);
        sums.due(began + INTERVAL);
        assert!(sums.0.lock().is_empty());
    }
}
