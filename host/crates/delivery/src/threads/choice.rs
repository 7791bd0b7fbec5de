//! Choosing the next task: deficit round-robin, with lanes first that used less than their share.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The credit that a lane of weight 1 gets in its turn.
const QUANTUM: Duration = Duration::from_millis(2);

/// Tasks that wait for a thread, by lane.
pub(super) struct Lanes<T> {
    lanes: Vec<LaneState<T>>,
    /// Lanes that had nothing to do and have credit: they go first.
    fresh: VecDeque<usize>,
    /// All others that want a turn.
    waiting: VecDeque<usize>,
    threads: usize,
    began: Instant,
}

struct LaneState<T> {
    ready: VecDeque<T>,
    weight: i64,
    /// In nanoseconds. Without credit a lane waits for its turn.
    credit: i64,
    /// How many of its futures are being polled.
    polled: usize,
    place: Place,
    /// Since when it has had nothing to do.
    idle_since: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In no line.
    Away,
    Fresh,
    Waiting,
}

impl<T> Lanes<T> {
    pub(super) fn new(threads: usize, now: Instant) -> Self {
        Self { lanes: Vec::new(), fresh: VecDeque::new(), waiting: VecDeque::new(), threads, began: now }
    }

    pub(super) fn add(&mut self, weight: u32) -> usize {
        let weight = i64::from(weight.max(1));
        self.lanes.push(LaneState {
            ready: VecDeque::new(),
            weight,
            credit: weight.saturating_mul(quantum()),
            polled: 0,
            place: Place::Away,
            idle_since: self.began,
        });
        self.lanes.len() - 1
    }

    /// Adds to what a lane has to do. Says whether the lane goes first because of that.
    pub(super) fn push(&mut self, number: usize, item: T, now: Instant) -> bool {
        let busy = self.fresh.len() + self.waiting.len();
        let threads = self.threads;
        let Some(lane) = self.lanes.get_mut(number) else { return false };
        lane.ready.push_back(item);
        if lane.place != Place::Away {
            return false;
        }
        if lane.polled == 0 {
            // While it was away, it was owed what it did not use: an equal share of the threads.
            let share = now.duration_since(lane.idle_since).as_nanos() as i64 / (busy as i64 + 1);
            lane.credit = lane.credit.saturating_add(share.saturating_mul(threads as i64)).min(lane.full());
        }
        let is_fresh = lane.polled == 0 && lane.credit > 0;
        lane.place = if is_fresh { Place::Fresh } else { Place::Waiting };
        if is_fresh {
            self.fresh.push_back(number)
        } else {
            self.waiting.push_back(number)
        }
        is_fresh
    }

    /// The next to be polled, and its lane.
    pub(super) fn next(&mut self) -> Option<(usize, T)> {
        loop {
            let fresh = self.fresh.front().copied();
            let number = fresh.or_else(|| self.waiting.front().copied())?;
            let lane = self.lanes.get_mut(number)?;
            let line = if fresh.is_some() { &mut self.fresh } else { &mut self.waiting };
            if lane.ready.is_empty() {
                line.pop_front();
                lane.place = Place::Away;
                continue;
            }
            if lane.credit <= 0 {
                line.pop_front();
                lane.credit = lane.credit.saturating_add(lane.weight.saturating_mul(quantum())).min(lane.full());
                lane.place = Place::Waiting;
                self.waiting.push_back(number);
                continue;
            }
            let item = lane.ready.pop_front()?;
            lane.polled += 1;
            return Some((number, item));
        }
    }

    /// A poll of a lane ended and took so long.
    pub(super) fn charge(&mut self, number: usize, took: Duration, now: Instant) {
        let Some(lane) = self.lanes.get_mut(number) else { return };
        lane.polled = lane.polled.saturating_sub(1);
        lane.credit = lane.credit.saturating_sub(took.as_nanos() as i64);
        if lane.polled == 0 && lane.ready.is_empty() {
            lane.idle_since = now;
        }
    }

    /// Takes out all that waits.
    pub(super) fn clear(&mut self) -> Vec<T> {
        self.lanes.iter_mut().flat_map(|lane| lane.ready.drain(..)).collect()
    }
}

impl<T> LaneState<T> {
    fn full(&self) -> i64 {
        self.weight.saturating_mul(quantum())
    }
}

fn quantum() -> i64 {
    QUANTUM.as_nanos() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// Lanes that always want more; how many slices of a millisecond each gets.
    fn served(weights: &[u32], slices: usize) -> Vec<usize> {
        let mut now = Instant::now();
        let mut lanes = Lanes::new(1, now);
        let mut counts = vec![0; weights.len()];
        for weight in weights {
            let lane = lanes.add(*weight);
            lanes.push(lane, (), now);
        }
        for _ in 0..slices {
            let (lane, ()) = lanes.next().unwrap();
            now += MILLISECOND;
            lanes.push(lane, (), now);
            lanes.charge(lane, MILLISECOND, now);
            counts[lane] += 1;
        }
        counts
    }

    #[test]
    fn lanes_that_want_all_get_equal_time() {
        assert_eq!(served(&[1, 1, 1], 300), [100, 100, 100]);
    }

    #[test]
    fn a_lane_of_three_times_the_weight_gets_three_times_the_time() {
        assert_eq!(served(&[3, 1], 400), [300, 100]);
    }

    #[test]
    fn a_lane_whose_polls_are_long_gets_fewer_of_them() {
        let now = Instant::now();
        let mut lanes = Lanes::new(1, now);
        let long = lanes.add(1);
        let short = lanes.add(1);
        let mut counts = [0, 0];
        lanes.push(long, (), now);
        lanes.push(short, (), now);
        for _ in 0..1100 {
            let (lane, ()) = lanes.next().unwrap();
            lanes.push(lane, (), now);
            lanes.charge(lane, if lane == long { 10 * MILLISECOND } else { MILLISECOND }, now);
            counts[lane] += 1;
        }
        assert_eq!(counts, [100, 1000]);
    }

    #[test]
    fn a_lane_that_used_little_goes_before_those_that_burn_all() {
        let mut now = Instant::now();
        let mut lanes = Lanes::new(1, now);
        let burning: Vec<usize> = (0..5).map(|_| lanes.add(1)).collect();
        let quiet = lanes.add(1);
        for lane in &burning {
            lanes.push(*lane, "burning", now);
        }
        for _ in 0..50 {
            let (lane, item) = lanes.next().unwrap();
            now += MILLISECOND;
            lanes.push(lane, item, now);
            lanes.charge(lane, MILLISECOND, now);
        }
        lanes.push(quiet, "quiet", now);
        assert_eq!(lanes.next().unwrap().1, "quiet");
    }

    #[test]
    fn a_lane_that_goes_away_between_its_polls_gains_nothing_by_it() {
        let mut now = Instant::now();
        let mut lanes = Lanes::new(1, now);
        let leaving = lanes.add(1);
        let staying = lanes.add(1);
        let mut counts = [0, 0];
        lanes.push(staying, (), now);
        for _ in 0..400 {
            // It is never in line while another is polled, and comes back as soon as it can.
            lanes.push(leaving, (), now);
            for _ in 0..2 {
                let (lane, ()) = lanes.next().unwrap();
                now += MILLISECOND;
                if lane == staying {
                    lanes.push(staying, (), now);
                }
                lanes.charge(lane, MILLISECOND, now);
                counts[lane] += 1;
                if lane == leaving {
                    break;
                }
            }
        }
        let share = counts[0] as f64 / (counts[0] + counts[1]) as f64;
        assert!((0.4..0.6).contains(&share), "{counts:?}");
    }

    #[test]
    fn clearing_takes_out_what_waits() {
        let now = Instant::now();
        let mut lanes = Lanes::new(1, now);
        let lane = lanes.add(1);
        lanes.push(lane, 1, now);
        lanes.push(lane, 2, now);
        assert_eq!(lanes.clear(), [1, 2]);
        assert_eq!(lanes.next(), None);
    }
}
