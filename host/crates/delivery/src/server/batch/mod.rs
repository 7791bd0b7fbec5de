//! Batches: messages that a receiver gets in one call. They are gathered here, and worked off in `work`.

mod halves;
mod keeping;
mod work;

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;
use wasmpost_msg::Context;

use super::attempt::Worker;
use super::backlog::Counted;
use super::keeper::{Lease, Waiting};
use crate::lease::Delivery;

/// How messages are gathered for a receiver that gets several in one call.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use wasmpost_delivery::{BatchOptions, QueueServerOptions};
///
/// let batch = BatchOptions { messages: 100, wait: Duration::from_millis(20), ..BatchOptions::default() };
/// let options = QueueServerOptions { concurrency: 200, batch: Some(batch), ..QueueServerOptions::default() };
/// # drop(options);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// The most messages in a call. No call has more than are in flight.
    pub messages: usize,
    /// How long the first of them waits for others.
    pub wait: Duration,
    /// The most bytes of bodies and attributes in a call. A message that is larger comes alone.
    pub bytes: usize,
}

/// Gathers deliveries, and has each batch worked off by a task.
pub(super) struct Batches {
    worker: Worker,
    options: BatchOptions,
    tasks: TaskTracker,
    in_flight: Arc<AtomicUsize>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Deliveries that no batch has yet, the oldest first.
    gathered: VecDeque<Gathered>,
    /// Batches that nobody began yet, each of which has a task.
    ready: VecDeque<Vec<Gathered>>,
}

/// A delivery with its slot.
struct Gathered {
    delivery: Delivery,
    context: Context,
    since: Instant,
    hold: Hold,
}

/// The slot of a delivery, and its part in the number of those in flight.
struct Hold {
    _slot: Option<OwnedSemaphorePermit>,
    _counted: Counted,
}

impl Default for BatchOptions {
    /// 64 messages, of 4 MiB together, gathered for 5 milliseconds.
    fn default() -> Self {
        Self { messages: 64, wait: Duration::from_millis(5), bytes: 4 << 20 }
    }
}

impl Batches {
    /// The tasks are tracked by `tasks`.
    pub(super) fn new(
        worker: Worker,
        options: BatchOptions,
        tasks: TaskTracker,
        in_flight: Arc<AtomicUsize>,
    ) -> Arc<Self> {
        let options = BatchOptions { messages: options.messages.max(1), ..options };
        let batches = Arc::new(Self { worker, options, tasks, in_flight, state: Mutex::default() });
        let waiting: Weak<dyn Waiting> = Arc::downgrade(&(Arc::clone(&batches) as Arc<dyn Waiting>));
        batches.worker.keeper.watch(waiting);
        batches
    }

    /// Adds deliveries, each with one of the slots, and has batches that are full worked off.
    pub(super) fn push(self: &Arc<Self>, deliveries: Vec<Delivery>, mut slots: OwnedSemaphorePermit) {
        let since = Instant::now();
        let mut state = self.state.lock();
        for delivery in deliveries {
            let context = self.worker.context(&delivery);
            let hold = Hold { _slot: slots.split(1), _counted: Counted::new(&self.in_flight) };
            state.gathered.push_back(Gathered { delivery, context, since, hold });
        }
        let mut batches = 0;
        while let Some(batch) = state.take(&self.options, Wanted::Full) {
            state.ready.push_back(batch);
            batches += 1;
        }
        drop(state);
        self.worker.keeper.wake();
        (0..batches).for_each(|_| self.spawn());
    }

    /// Waits until a delivery has waited as long as it may.
    pub(super) async fn due(&self) {
        let since = self.state.lock().gathered.front().map(|oldest| oldest.since);
        match since {
            Some(since) => sleep_until(since + self.options.wait).await,
            None => std::future::pending().await,
        }
    }

    /// Has what was gathered worked off, if the oldest has waited as long as it may.
    pub(super) fn release(self: &Arc<Self>) {
        let latest = Instant::now().checked_sub(self.options.wait);
        loop {
            let mut state = self.state.lock();
            let is_due =
                state.gathered.front().is_some_and(|oldest| latest.is_some_and(|latest| oldest.since <= latest));
            let Some(batch) = is_due.then(|| state.take(&self.options, Wanted::Any)).flatten() else { return };
            state.ready.push_back(batch);
            drop(state);
            self.spawn();
        }
    }

    /// Has all that was gathered worked off: nothing more comes.
    pub(super) fn release_all(self: &Arc<Self>) {
        loop {
            let mut state = self.state.lock();
            let Some(batch) = state.take(&self.options, Wanted::Any) else { return };
            state.ready.push_back(batch);
            drop(state);
            self.spawn();
        }
    }

    /// Starts a task for a batch that is ready.
    fn spawn(self: &Arc<Self>) {
        let batches = Arc::clone(self);
        let work = self.tasks.track_future(async move {
            let batch = batches.state.lock().ready.pop_front();
            if let Some(batch) = batch {
                work::work_off(&batches.worker, batch).await;
            }
        });
        match self.worker.options.share.as_ref().and_then(|share| share.lane()) {
            Some(lane) => lane.spawn(work),
            None => drop(tokio::spawn(work)),
        }
    }
}

impl Waiting for Batches {
    fn leases(&self) -> Vec<Lease> {
        let state = self.state.lock();
        let waiting = state.gathered.iter().chain(state.ready.iter().flatten());
        let lease = |Gathered { delivery, context, .. }: &Gathered| Lease {
            renewer: delivery.lease.renewer(),
            delivery: context.clone(),
        };
        waiting.map(lease).collect()
    }

    fn is_empty(&self) -> bool {
        let state = self.state.lock();
        state.gathered.is_empty() && state.ready.is_empty()
    }
}

/// The batch that somebody wants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// One that cannot take the next message any more.
    Full,
    /// One of what there is.
    Any,
}

impl State {
    /// Takes a batch out of what was gathered, if there is one. Those whose ordering key it has already are left for the
    /// next.
    fn take(&mut self, options: &BatchOptions, wanted: Wanted) -> Option<Vec<Gathered>> {
        let mut keys = HashSet::new();
        let mut places = Vec::new();
        let mut bytes = 0_usize;
        let mut is_full = false;
        for (place, Gathered { delivery, .. }) in self.gathered.iter().enumerate() {
            if delivery.key.as_ref().is_some_and(|key| !keys.insert(key)) {
                continue;
            }
            let more = delivery.body.len() + delivery.attributes.bytes();
            if !places.is_empty() && bytes.saturating_add(more) > options.bytes {
                is_full = true;
                break;
            }
            bytes = bytes.saturating_add(more);
            places.push(place);
            if places.len() >= options.messages {
                is_full = true;
                break;
            }
        }
        if places.is_empty() || (wanted == Wanted::Full && !is_full) {
            return None;
        }
        if places.last().is_some_and(|last| last + 1 == places.len()) {
            return Some(self.gathered.drain(..places.len()).collect());
        }
        let mut batch: Vec<_> = places.iter().rev().filter_map(|place| self.gathered.remove(*place)).collect();
        batch.reverse();
        Some(batch)
    }
}
