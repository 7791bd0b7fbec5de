//! Threads for receivers: each tenant has a lane, and the lanes share the threads by the time that they use.
//!
//! A future is polled by whichever thread is free. Between two polls the next lane is chosen by deficit round-robin:
//! each lane gets credit in turn, in proportion to its weight, and pays with the time of its polls. A lane that used
//! less than its share goes first, so that a tenant with little to do does not wait behind one that burns all it can.

mod choice;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_task::Runnable;
use choice::Lanes;

use crate::sync::{Condvar, Handle, Mutex, thread};

/// Threads that poll the futures of all lanes.
///
/// # Examples
///
/// ```
/// use tokio::runtime::Handle;
/// use tokio::sync::oneshot;
/// use wasmpost_delivery::{Lane, Preempt, Threads};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let preempt: Preempt = Box::new(|| {});
/// let threads = Threads::start(2, &Handle::current(), preempt)?;
/// // When both want more than there is, the first gets three times as much.
/// let preferred: Lane = threads.lane(3);
/// let other = threads.lane(1);
/// let (done, answer) = oneshot::channel();
/// preferred.spawn(async move { drop(done.send(7)) });
/// other.spawn(async {});
/// assert_eq!(answer.await?, 7);
/// # Ok(())
/// # }
/// ```
pub struct Threads {
    shared: Arc<Shared>,
}

/// Has the futures that are being polled return soon.
pub type Preempt = Box<dyn Fn() + Send + Sync>;

/// How much lower the priority of these threads is than that of the others of the process: who renews leases or takes
/// messages in gets a processor at once.
const NICE: i32 = 10;

/// After a poll of this length a thread offers its processor to the others of the process: the system would let them
/// wait for several milliseconds.
const LONG_POLL: Duration = Duration::from_micros(300);

/// The place of one tenant among all that share the threads. Clones are one lane.
#[derive(Clone)]
pub struct Lane {
    shared: Arc<Shared>,
    number: usize,
}

struct Shared {
    count: usize,
    state: Mutex<State>,
    work: Condvar,
    preempt: Preempt,
}

struct State {
    lanes: Lanes<Runnable>,
    /// Threads that wait for work.
    idle: usize,
    ended: bool,
}

impl Threads {
    /// Starts `count` threads. Timers and sockets of the futures are those of the runtime in `context`. When a lane that
    /// goes first has something to do and all threads are at work, `preempt` is called.
    ///
    /// # Errors
    ///
    /// That of the system, where it starts no more threads.
    pub fn start(count: usize, context: &Handle, preempt: Preempt) -> std::io::Result<Self> {
        let count = count.max(1);
        let state = State { lanes: Lanes::new(count, Instant::now()), idle: 0, ended: false };
        let shared = Arc::new(Shared { count, state: Mutex::new(state), work: Condvar::new(), preempt });
        let threads = Self { shared };
        for number in 0..count {
            let shared = Arc::clone(&threads.shared);
            let context = context.clone();
            let builder = thread::Builder::new().name(format!("wasmpost-guest-{number}"));
            builder.spawn(move || {
                thread::lower_priority(NICE);
                let _entered = context.enter();
                shared.run();
            })?;
        }
        Ok(threads)
    }

    /// A lane of its own, which gets `weight` times the time of a lane of weight 1 when all want more than there is.
    pub fn lane(&self, weight: u32) -> Lane {
        let number = self.shared.state.lock().lanes.add(weight);
        Lane { shared: Arc::clone(&self.shared), number }
    }
}

impl Drop for Threads {
    /// Ends the threads after the polls that they are at. Tasks that are not done are dropped when they are next woken,
    /// or now if they wait for a thread.
    fn drop(&mut self) {
        let left = {
            let mut state = self.shared.state.lock();
            state.ended = true;
            state.lanes.clear()
        };
        self.shared.work.notify_all();
        drop(left);
    }
}

impl Lane {
    /// How many threads it shares with the other lanes.
    pub(crate) fn threads(&self) -> usize {
        self.shared.count
    }

    /// Has the threads poll a future to its end.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        let number = self.number;
        let schedule = move |runnable| shared.schedule(number, runnable);
        let (runnable, task) = async_task::spawn(future, schedule);
        task.detach();
        runnable.schedule();
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Lane").field(&self.number).finish()
    }
}

impl Shared {
    fn schedule(&self, lane: usize, runnable: Runnable) {
        let mut state = self.state.lock();
        if state.ended {
            drop(state);
            // Dropping it drops the future, which may schedule others: not under the lock.
            drop(runnable);
            return;
        }
        let goes_first = state.lanes.push(lane, runnable, Instant::now());
        let is_idle = state.idle > 0;
        drop(state);
        if is_idle {
            self.work.notify_one();
        } else if goes_first {
            (self.preempt)();
        }
    }

    fn run(&self) {
        let mut state = self.state.lock();
        while !state.ended {
            let Some((lane, runnable)) = state.lanes.next() else {
                state.idle += 1;
                // Woken by work or by the end.
                self.work.wait(&mut state);
                state.idle -= 1;
                continue;
            };
            drop(state);
            let began = Instant::now();
            // Receivers are wrapped so that their panics are errors; should one get here, the thread outlives it.
            let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runnable.run()));
            if polled.is_err() {
                tracing::error!("a delivery panicked; its message will be redelivered");
            }
            let now = Instant::now();
            let took = now - began;
            if took >= LONG_POLL {
                thread::yield_now();
            }
            state = self.state.lock();
            state.lanes.charge(lane, took, now);
        }
    }
}
