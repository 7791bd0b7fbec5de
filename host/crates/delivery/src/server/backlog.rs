//! Working off what was pulled: as many tasks as there are threads, each taking one delivery after the other. A delivery
//! that has to wait keeps its task, and another one goes on with the rest.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmpost_msg::Context;

use super::attempt::Worker;
use super::keeper::{Lease, Waiting};
use crate::lease::Delivery;

/// How long a task takes one delivery after the other before it lets others run.
const SLICE: Duration = Duration::from_micros(200);
/// How many it takes at most meanwhile, for clocks that stand still.
const SLICE_MAX: usize = 256;
/// The most slots that wait to be used again together: the next deliveries are pulled while the last ones are at work.
const RELEASED_MAX: usize = 16;

/// Deliveries that were pulled and did not begin yet.
pub(super) struct Backlog {
    worker: Worker,
    tasks: TaskTracker,
    stop: CancellationToken,
    in_flight: Arc<AtomicUsize>,
    /// How many tasks can be polled at a time.
    threads: usize,
    /// How many slots are used again together.
    released: usize,
    /// Whether all slots are wanted by whoever pulls and waits.
    is_paused: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Pulled>,
    /// Tasks whose delivery does not wait for anything.
    busy: usize,
}

/// A delivery with its slot.
struct Pulled {
    delivery: Delivery,
    /// Made once its lease is renewed, or when it begins.
    context: Option<Context>,
    slot: Option<OwnedSemaphorePermit>,
    counted: Counted,
}

/// A task's part in working off the backlog, however the task ends.
struct Turn {
    backlog: Arc<Backlog>,
    is_busy: bool,
    /// Whether anybody polled the task.
    has_begun: bool,
}

/// Counts a delivery for as long as it is in flight.
pub(super) struct Counted(Arc<AtomicUsize>);

impl Backlog {
    /// The tasks are tracked by `tasks`, and pull nothing once they are told to `stop`.
    pub(super) fn new(
        worker: Worker,
        tasks: TaskTracker,
        stop: CancellationToken,
        in_flight: Arc<AtomicUsize>,
        slots: usize,
    ) -> Arc<Self> {
        let threads = match worker.options.share.as_ref().and_then(|share| share.lane()) {
            Some(lane) => lane.threads(),
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let released = (slots / 2).clamp(1, RELEASED_MAX);
        let backlog = Arc::new(Self {
            worker,
            tasks,
            stop,
            in_flight,
            threads,
            released,
            is_paused: AtomicBool::new(false),
            state: Mutex::default(),
        });
        let waiting: Weak<dyn Waiting> = Arc::downgrade(&(Arc::clone(&backlog) as Arc<dyn Waiting>));
        backlog.worker.keeper.watch(waiting);
        backlog
    }

    /// Pulls nothing from now on, because messages come one at a time, each after a pause.
    pub(super) fn pause(&self) {
        self.is_paused.store(true, Ordering::Release);
    }

    /// Pulls again when slots become free.
    pub(super) fn resume(&self) {
        self.is_paused.store(false, Ordering::Release);
    }

    /// Has deliveries worked off, each with one of the slots.
    pub(super) fn push(self: &Arc<Self>, deliveries: Vec<Delivery>, mut slots: OwnedSemaphorePermit) {
        let mut state = self.state.lock();
        for delivery in deliveries {
            let counted = Counted::new(&self.in_flight);
            state.waiting.push_back(Pulled { delivery, context: None, slot: slots.split(1), counted });
        }
        let more = state.waiting.len().min(self.threads.saturating_sub(state.busy));
        state.busy += more;
        drop(state);
        self.worker.keeper.wake();
        (0..more).for_each(|_| self.spawn());
    }

    /// Uses slots again for what can be pulled at once. Those that are left over go back to whoever pulls and waits.
    fn refill(self: &Arc<Self>, slots: OwnedSemaphorePermit) {
        let is_paused = self.is_paused.load(Ordering::Acquire) || self.worker.breaker.is_open();
        if is_paused || self.stop.is_cancelled() {
            return;
        }
        let deliveries = self.worker.source.pull_now(slots.num_permits());
        if !deliveries.is_empty() {
            self.push(deliveries, slots);
        }
    }

    /// Starts a task that counts as busy already.
    fn spawn(self: &Arc<Self>) {
        let turn = Turn { backlog: Arc::clone(self), is_busy: true, has_begun: false };
        let work = self.tasks.track_future(turn.work_off());
        match self.worker.options.share.as_ref().and_then(|share| share.lane()) {
            Some(lane) => lane.spawn(work),
            None => drop(tokio::spawn(work)),
        }
    }
}

impl Waiting for Backlog {
    fn leases(&self) -> Vec<Lease> {
        let mut state = self.state.lock();
        let leases = state.waiting.iter_mut().map(|Pulled { delivery, context, .. }| {
            let context = context.get_or_insert_with(|| self.worker.context(delivery)).clone();
            Lease { renewer: delivery.lease.renewer(), delivery: context }
        });
        leases.collect()
    }

    fn is_empty(&self) -> bool {
        self.state.lock().waiting.is_empty()
    }
}

impl Turn {
    async fn work_off(mut self) {
        self.has_begun = true;
        let mut slots: Option<OwnedSemaphorePermit> = None;
        let mut began = Instant::now();
        let mut done = 0;
        while let Some(Pulled { delivery, context, slot, counted }) = self.next(&mut slots) {
            let backlog = Arc::clone(&self.backlog);
            let context = context.unwrap_or_else(|| backlog.worker.context(&delivery));
            let mut work = pin!(backlog.worker.work(delivery, context));
            let mut has_waited = false;
            std::future::poll_fn(|context| {
                let polled = work.as_mut().poll(context);
                if polled.is_pending() {
                    slots = None;
                    self.wait();
                    has_waited = true;
                }
                polled
            })
            .await;
            drop(counted);
            match (&mut slots, slot) {
                (Some(slots), Some(slot)) => slots.merge(slot),
                (none, slot) => *none = slot,
            }
            done += 1;
            let is_over = !has_waited && (done >= SLICE_MAX || began.elapsed() >= SLICE);
            if let Some(free) = slots.take_if(|free| is_over || free.num_permits() >= backlog.released) {
                backlog.refill(free);
            }
            if is_over {
                yield_now().await;
            }
            if is_over || has_waited {
                (began, done) = (Instant::now(), 0);
            }
        }
    }

    /// The next delivery, unless others are at them already. Where none waits, free slots are used for more.
    fn next(&mut self, slots: &mut Option<OwnedSemaphorePermit>) -> Option<Pulled> {
        loop {
            let mut state = self.backlog.state.lock();
            if !self.is_busy {
                if state.busy >= self.backlog.threads {
                    return None;
                }
                state.busy += 1;
                self.is_busy = true;
            }
            let next = state.waiting.pop_front();
            if next.is_some() {
                return next;
            }
            let Some(free) = slots.take() else {
                state.busy -= 1;
                self.is_busy = false;
                return None;
            };
            drop(state);
            self.backlog.refill(free);
        }
    }

    /// Has another task go on with the rest.
    fn wait(&mut self) {
        if !std::mem::take(&mut self.is_busy) {
            return;
        }
        let mut state = self.backlog.state.lock();
        let is_needed = !state.waiting.is_empty();
        if !is_needed {
            state.busy -= 1;
        }
        drop(state);
        if is_needed {
            self.backlog.spawn();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // A task that nobody polls any more did not panic itself, and the next would fare no better.
        if self.has_begun && std::thread::panicking() {
            // Another task goes on where this one cannot.
            self.wait();
        } else if self.is_busy {
            // The poller has ended, and all tasks with it: deliveries that did not begin are given back.
            let mut state = self.backlog.state.lock();
            state.busy -= 1;
            let left = std::mem::take(&mut state.waiting);
            drop(state);
            drop(left);
        }
    }
}

impl Counted {
    pub(super) fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Lets others of the same thread run.
async fn yield_now() {
    let mut has_yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
