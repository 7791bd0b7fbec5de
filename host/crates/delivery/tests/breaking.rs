//! A receiver that faults on every message is slowed, so that its messages wait instead of dying.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
use wasmpost_delivery::{BreakerState, Broker, Clock, Queue, QueueServer, QueueServerOptions, QueueSpec, RetryPolicy};
use wasmpost_msg::{Attributes, Disposition, Message, Publication, Reason, ReceiveError, ReceiverFunc, Server};

const MESSAGES: usize = 40;

fn trap() -> ReceiveError {
    ReceiveError::new(Disposition::Retry, Reason::Trap, "unreachable")
}

struct Broken {
    broker: MemoryBroker,
    queue: Arc<dyn Queue>,
    server: Arc<QueueServer>,
    works: Arc<AtomicBool>,
    calls: mpsc::UnboundedReceiver<Instant>,
    most: Arc<AtomicUsize>,
}

/// A server of 40 messages, four at a time, whose receiver traps on each until it works.
async fn broken() -> Broken {
    let broker = MemoryBroker::new(MemoryOptions { clock: Clock::system(), ..MemoryOptions::default() });
    let queue = broker.queue(QueueSpec::new("orders")).await.unwrap();
    let publication = |number: usize| Publication::new("orders", Attributes::new(), number.to_string());
    broker.publish((0..MESSAGES).map(publication).collect()).await.unwrap();
    // One attempt: each message that is tried while the receiver is broken dies.
    let retry = RetryPolicy { attempts_max: 1, ..RetryPolicy::default() };
    let options = QueueServerOptions { concurrency: 4, retry, ..QueueServerOptions::default() };
    let server = Arc::new(QueueServer::new(Arc::clone(&queue), options));
    let (called, calls) = mpsc::unbounded_channel();
    let (works, now, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::default());
    let receiver = ReceiverFunc({
        let (works, most) = (Arc::clone(&works), Arc::clone(&most));
        move |_: Message| {
            called.send(Instant::now()).unwrap();
            let (works, now, most) = (Arc::clone(&works), Arc::clone(&now), Arc::<AtomicUsize>::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::SeqCst);
                if works.load(Ordering::SeqCst) { Ok(()) } else { Err(trap()) }
            }
        }
    });
    let serving = Arc::clone(&server);
    tokio::spawn(async move { serving.serve(Arc::new(receiver)).await.unwrap() });
    Broken { broker, queue, server, works, calls, most }
}

#[tokio::test(start_paused = true)]
async fn after_five_faults_messages_come_one_at_a_time_with_growing_pauses() {
    let mut broken = broken().await;
    let mut times = Vec::new();
    for _ in 0..12 {
        times.push(broken.calls.recv().await.unwrap());
    }
    // What was in flight when the breaker opened was called as well: at most four of a pull more than five.
    let pauses: Vec<u64> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    let at = pauses.iter().position(|pause| *pause > 0).unwrap();
    assert!((4..8).contains(&at), "{pauses:?}");
    assert!(pauses[at..].windows(2).all(|pair| pair[1] > pair[0]), "{pauses:?}");
    let dead = broken.broker.stats().await.unwrap()[0].dead as usize;
    assert!(dead < 12, "{dead} are dead, the others wait");
    assert!(matches!(broken.server.breaker(), BreakerState::Open { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_works_again_gets_its_messages_as_they_come() {
    let mut broken = broken().await;
    for _ in 0..9 {
        broken.calls.recv().await.unwrap();
    }
    broken.works.store(true, Ordering::SeqCst);
    broken.most.store(0, Ordering::SeqCst);
    broken.queue.drained().await.unwrap();
    assert_eq!(broken.server.breaker(), BreakerState::Closed);
    let stats = broken.broker.stats().await.unwrap().remove(0);
    assert!(stats.dead < 10 && stats.acked + stats.dead == MESSAGES as u64, "{stats:?}");
    assert_eq!(broken.most.load(Ordering::SeqCst), 4, "all slots are in use again");
}

#[tokio::test(start_paused = true)]
async fn another_receiver_begins_at_once() {
    let mut broken = broken().await;
    for _ in 0..14 {
        broken.calls.recv().await.unwrap();
    }
    // The pause before the next would take minutes.
    broken.works.store(true, Ordering::SeqCst);
    let began = Instant::now();
    broken.server.receiver_changed();
    broken.queue.drained().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_slowed_server_stops_at_once() {
    let mut broken = broken().await;
    for _ in 0..14 {
        broken.calls.recv().await.unwrap();
    }
    let began = Instant::now();
    broken.server.shutdown(Duration::from_secs(25)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}
