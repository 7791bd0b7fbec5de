//! Threads that lanes share: everything that is spawned is polled to its end, and an end drops what is left.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use crate::scheduled::{let_run, scheduled};
use crate::sync::{AtomicUsize, Condvar, Handle, Mutex, Ordering, thread};
use crate::threads::Threads;

/// Counts, and wakes who waits for a number.
#[derive(Default)]
struct Count {
    number: Mutex<usize>,
    changed: Condvar,
}

/// Counts when it is dropped.
struct Counted(Arc<Count>);

impl Count {
    fn add(&self) {
        *self.number.lock() += 1;
        self.changed.notify_all();
    }

    fn wait_for(&self, wanted: usize) {
        let mut number = self.number.lock();
        while *number < wanted {
            self.changed.wait(&mut number);
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.add();
    }
}

/// Something that futures wait for, until it is given.
#[derive(Default)]
struct Gate(Mutex<(bool, Vec<Waker>)>);

impl Gate {
    fn open(&self) {
        let wakers = {
            let mut state = self.0.lock();
            state.0 = true;
            std::mem::take(&mut state.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    async fn pass(&self) {
        poll_fn(|context| {
            let mut state = self.0.lock();
            if state.0 {
                return Poll::Ready(());
            }
            state.1.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

pub(crate) fn spawned_futures_are_polled_to_their_end() {
    scheduled(|| {
        let threads = Threads::start(2, &Handle, Box::new(|| ())).unwrap();
        let done = Arc::new(Count::default());
        let gate = Arc::new(Gate::default());
        for weight in [1, 3] {
            let lane = threads.lane(weight);
            for _ in 0..2 {
                let done = Arc::clone(&done);
                let gate = Arc::clone(&gate);
                lane.spawn(async move {
                    let_run().await;
                    gate.pass().await;
                    done.add();
                });
            }
        }
        gate.open();
        done.wait_for(4);
    });
}

pub(crate) fn an_end_drops_what_waits_and_what_is_woken_after_it() {
    scheduled(|| {
        let threads = Threads::start(2, &Handle, Box::new(|| ())).unwrap();
        let dropped = Arc::new(Count::default());
        let gate = Arc::new(Gate::default());
        let lane = threads.lane(1);
        for number in 0..3 {
            let counted = Counted(Arc::clone(&dropped));
            let gate = Arc::clone(&gate);
            lane.spawn(async move {
                if number > 0 {
                    gate.pass().await;
                }
                drop(counted);
            });
        }
        let waking = thread::Builder::new().spawn({
            let gate = Arc::clone(&gate);
            move || gate.open()
        });
        drop(threads);
        waking.unwrap().join().unwrap();
        dropped.wait_for(3);
    });
}

pub(crate) fn a_lane_that_goes_first_is_served_while_all_threads_are_at_work() {
    scheduled(|| {
        let preempted = Arc::new(AtomicUsize::new(0));
        let calls = Arc::clone(&preempted);
        let preempt = Box::new(move || {
            calls.fetch_add(1, Ordering::SeqCst);
        });
        let threads = Threads::start(1, &Handle, preempt).unwrap();
        let burning = threads.lane(1);
        let quiet = threads.lane(1);
        let began = Arc::new(Count::default());
        let done = Arc::new(Count::default());
        let beginning = Arc::clone(&began);
        let ended = Arc::clone(&done);
        burning.spawn(async move {
            beginning.add();
            // It lets go as a guest does whose time was ended.
            while preempted.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            ended.add();
        });
        began.wait_for(1);
        let ended = Arc::clone(&done);
        quiet.spawn(async move { ended.add() });
        done.wait_for(2);
    });
}
