//! Deliveries that came from the server and wait to be pulled, for moments only.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use wasmpost_delivery::{BrokerError, Delivery};

/// Messages that arrived, and pulls that wait for them.
#[derive(Default)]
pub(crate) struct Shelf {
    state: Mutex<State>,
    /// Wakes who pulls.
    pub(crate) came: Notify,
}

#[derive(Default)]
struct State {
    /// By their place in the stream, so that order of arrival does not matter.
    ready: BTreeMap<u64, (Instant, Delivery)>,
    fault: Option<BrokerError>,
    /// Since when nobody pulls.
    idle_since: Option<Instant>,
}

/// How long a delivery may wait here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// While nobody pulls.
    pub(crate) idle: Duration,
    /// In any case: its lease is not renewed meanwhile.
    pub(crate) always: Duration,
}

impl State {
    fn until(&self, came: Instant, bounds: Bounds) -> Instant {
        let always = came + bounds.always;
        self.idle_since.map_or(always, |since| always.min(came.max(since) + bounds.idle))
    }
}

impl Shelf {
    pub(crate) fn put(&self, sequence: u64, delivery: Delivery) {
        let before = self.state.lock().ready.insert(sequence, (Instant::now(), delivery));
        // An earlier delivery of the same message has lapsed: dropping its lease settles nothing.
        drop(before);
        self.came.notify_one();
    }

    /// Tells who pulls that something failed.
    pub(crate) fn fail(&self, fault: BrokerError) {
        self.state.lock().fault = Some(fault);
        self.came.notify_one();
    }

    /// Takes what came, at most so much; a fault if nothing did.
    pub(crate) fn take(&self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        let mut state = self.state.lock();
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some((_, (_, delivery))) = state.ready.pop_first()
        {
            taken.push(delivery);
        }
        match state.fault.take() {
            Some(fault) if taken.is_empty() => Err(fault),
            _ => Ok(taken),
        }
    }

    /// Notes that somebody pulls.
    pub(crate) fn begin_pull(&self) {
        let mut state = self.state.lock();
        state.idle_since = None;
        // An error that came while nobody pulled does not matter any more.
        state.fault = None;
    }

    /// Notes that nobody pulls any more.
    pub(crate) fn end_pull(&self) {
        self.state.lock().idle_since = Some(Instant::now());
    }

    /// When the next delivery is to be given back, if it is not pulled until then.
    pub(crate) fn next_overdue(&self, bounds: Bounds) -> Option<Instant> {
        let state = self.state.lock();
        state.ready.values().map(|(came, _)| state.until(*came, bounds)).min()
    }

    /// Takes out what nobody pulled in time.
    pub(crate) fn overdue(&self, bounds: Bounds) -> Vec<Delivery> {
        let mut state = self.state.lock();
        let now = Instant::now();
        let overdue = state.ready.iter().filter(|(_, (came, _))| now >= state.until(*came, bounds));
        let overdue: Vec<u64> = overdue.map(|(sequence, _)| *sequence).collect();
        overdue.iter().filter_map(|sequence| state.ready.remove(sequence)).map(|(_, delivery)| delivery).collect()
    }

    /// Everything, when the broker is closed.
    pub(crate) fn clear(&self) -> usize {
        let all = std::mem::take(&mut self.state.lock().ready);
        all.len()
    }
}
