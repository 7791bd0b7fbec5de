//! Threads that lanes share.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use wasmpost_delivery::Threads;

/// Burns time until it is told to stop, letting others run after each slice.
async fn burn(stop: Arc<AtomicBool>, slices: Arc<AtomicUsize>) {
    while !stop.load(Ordering::SeqCst) {
        let began = Instant::now();
        while began.elapsed() < Duration::from_micros(200) {
            std::hint::spin_loop();
        }
        slices.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_spawned_runs_to_its_end_and_can_wait_for_timers() {
    let threads = Threads::start(2, &Handle::current(), Box::new(|| ())).unwrap();
    let lane = threads.lane(1);
    let (done, mut ended) = mpsc::unbounded_channel();
    for number in 0..100 {
        let done = done.clone();
        lane.spawn(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            done.send(number).unwrap();
        });
    }
    let mut all: Vec<i32> = Vec::new();
    while all.len() < 100 {
        all.push(ended.recv().await.unwrap());
    }
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_lane_with_little_to_do_is_served_while_another_burns_all_threads() {
    let threads = Threads::start(1, &Handle::current(), Box::new(|| ())).unwrap();
    let burning = threads.lane(1);
    let quiet = threads.lane(1);
    let stop = Arc::new(AtomicBool::new(false));
    let slices = Arc::new(AtomicUsize::new(0));
    (0..50).for_each(|_| burning.spawn(burn(Arc::clone(&stop), Arc::clone(&slices))));
    let mut waited = Vec::new();
    for _ in 0..20 {
        let (done, ended) = oneshot::channel();
        let before = slices.load(Ordering::SeqCst);
        let then = Arc::clone(&slices);
        // Counted when it is its turn: how long the test takes to hear of it says nothing.
        quiet.spawn(async move { done.send(then.load(Ordering::SeqCst)).unwrap() });
        waited.push(ended.await.unwrap() - before);
    }
    stop.store(true, Ordering::SeqCst);
    waited.sort_unstable();
    // Behind each of the fifty it would have waited for fifty slices.
    assert!(waited[10] <= 15, "{waited:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_lane_that_goes_first_has_those_interrupted_that_are_at_work() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let preempt = Box::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let threads = Threads::start(1, &Handle::current(), preempt).unwrap();
    let burning = threads.lane(1);
    let quiet = threads.lane(1);
    let (began, beginning) = oneshot::channel();
    // Ends its poll when it is preempted, as a guest does.
    burning.spawn(async move {
        began.send(()).unwrap();
        while calls.load(Ordering::SeqCst) == 0 {
            std::hint::spin_loop();
        }
    });
    beginning.await.unwrap();
    let (done, ended) = oneshot::channel();
    quiet.spawn(async move { done.send(()).unwrap() });
    ended.await.unwrap();
}

#[tokio::test]
async fn a_panic_ends_its_future_and_nothing_else() {
    let threads = Threads::start(1, &Handle::current(), Box::new(|| ())).unwrap();
    let lane = threads.lane(1);
    lane.spawn(async { panic!("on purpose") });
    let (done, ended) = oneshot::channel();
    lane.spawn(async move { done.send("works").unwrap() });
    assert_eq!(ended.await.unwrap(), "works");
}

#[tokio::test]
async fn what_waits_when_the_threads_end_is_dropped() {
    let threads = Threads::start(1, &Handle::current(), Box::new(|| ())).unwrap();
    let lane = threads.lane(1);
    let (sender, receiver) = oneshot::channel::<()>();
    let stop = Arc::new(AtomicBool::new(false));
    let slices = Arc::new(AtomicUsize::new(0));
    lane.spawn(burn(Arc::clone(&stop), slices));
    lane.spawn(async move {
        let _held = sender;
        std::future::pending::<()>().await;
    });
    drop(threads);
    lane.spawn(async { panic!("spawned after the end") });
    // Either it was never polled and dropped, or it is dropped once its own waker is gone.
    assert!(receiver.await.is_err());
}
