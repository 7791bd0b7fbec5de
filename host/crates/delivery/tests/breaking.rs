//! A receiver that faults on every message is slowed, so that its messages wait instead of dying.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio::time::Instant;
use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
use wasmpost_delivery::{BreakerState, Broker, Clock, Queue, QueueServer, QueueServerOptions, QueueSpec, RetryPolicy};
use wasmpost_msg::{Attributes, Disposition, Message, Publication, Reason, ReceiveError, ReceiverFunc, Server};

const MESSAGES: usize = 200;
/// How many calls there are until pauses are long: those that slow the receiver, and what is in flight then, and fresh ones.
const QUICK_MAX: usize = 5 + 3 + 64;

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

/// A server of 200 messages, four at a time, whose receiver traps on each until it works.
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
    let works = Arc::new(AtomicBool::new(false));
    let now = Arc::new(AtomicUsize::new(0));
    let most = Arc::default();
    let receiver = ReceiverFunc({
        let works = Arc::clone(&works);
        let most = Arc::clone(&most);
        move |_: Message| {
            called.send(Instant::now()).unwrap();
            let works = Arc::clone(&works);
            let now = Arc::clone(&now);
            let most = Arc::<AtomicUsize>::clone(&most);
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
    for _ in 0..QUICK_MAX + 12 {
        times.push(broken.calls.recv().await.unwrap());
    }
    let pauses: Vec<u64> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    let at = pauses.iter().position(|pause| *pause > 0).unwrap();
    assert!((5 + 64 - 1..=QUICK_MAX).contains(&at), "{at}: {pauses:?}");
    assert!(pauses[at..].windows(2).all(|pair| pair[1] > pair[0] || pair[1] == 300), "{pauses:?}");
    assert_eq!(pauses.last(), Some(&300), "five minutes are the most");
    let dead = broken.broker.stats().await.unwrap()[0].dead as usize;
    assert!(dead < QUICK_MAX + 12, "{dead} are dead, the others wait");
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
    for _ in 0..QUICK_MAX + 8 {
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
    for _ in 0..QUICK_MAX + 8 {
        broken.calls.recv().await.unwrap();
    }
    let began = Instant::now();
    broken.server.shutdown(Duration::from_secs(25)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

/// A queue of messages that trap and messages that are processed, with the time that each takes.
struct Mixed {
    broker: MemoryBroker,
    server: Arc<QueueServer>,
    /// How often each message was tried, by id.
    tries: Arc<Mutex<BTreeMap<String, u32>>>,
}

/// A message that traps.
const BAD: &str = "bad";
/// A message that is processed.
const GOOD: &str = "good";

impl Mixed {
    /// A server that hands out messages, each with the milliseconds that its receiver takes.
    async fn serve(messages: impl IntoIterator<Item = (&'static str, u64)>, concurrency: usize) -> Self {
        let broker = MemoryBroker::new(MemoryOptions { clock: Clock::system(), ..MemoryOptions::default() });
        let queue = broker.queue(QueueSpec::new("orders")).await.unwrap();
        let options = QueueServerOptions { concurrency, ..QueueServerOptions::default() };
        let server = Arc::new(QueueServer::new(queue, options));
        let mixed = Self { broker, server, tries: Arc::default() };
        mixed.publish(messages).await;
        let tries = Arc::clone(&mixed.tries);
        let receiver = ReceiverFunc(move |message: Message| {
            *tries.lock().entry(message.context.id().to_owned()).or_default() += 1;
            async move {
                let takes: u64 = message.attributes.get("takes").unwrap().parse().unwrap();
                tokio::time::sleep(Duration::from_millis(takes)).await;
                if message.attributes.get("kind") == Some(GOOD) { Ok(()) } else { Err(trap()) }
            }
        });
        let serving = Arc::clone(&mixed.server);
        tokio::spawn(async move { serving.serve(Arc::new(receiver)).await.unwrap() });
        mixed
    }

    async fn publish(&self, messages: impl IntoIterator<Item = (&'static str, u64)>) {
        let publications = messages.into_iter().map(|(kind, takes)| {
            let mut attributes = Attributes::new();
            attributes.set("kind", kind);
            attributes.set("takes", takes.to_string());
            Publication::new("orders", attributes, "")
        });
        self.broker.publish(publications.collect()).await.unwrap();
    }

    /// Waits until as many messages were processed, and tells how long it took.
    async fn until_acked(&self, count: u64, longest: Duration) -> Duration {
        let began = Instant::now();
        while self.broker.stats().await.unwrap()[0].acked < count && began.elapsed() < longest {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        began.elapsed()
    }

    async fn dead(&self) -> u64 {
        self.broker.stats().await.unwrap()[0].dead
    }

    fn calls(&self) -> u32 {
        self.tries.lock().values().sum()
    }
}

#[tokio::test(start_paused = true)]
async fn good_messages_behind_a_burst_of_64_that_trap_are_done_within_ten_seconds() {
    for concurrency in [1, 2, 3, 4, 5, 6, 8, 15, 16, 31, 32, 33, 63, 64] {
        let mixed = Mixed::serve([(BAD, 0); 64].into_iter().chain([(GOOD, 0); 300]), concurrency).await;
        let took = mixed.until_acked(300, Duration::from_secs(20)).await;
        assert!(took < Duration::from_secs(10), "{concurrency} at a time: {took:?}, {:?}", mixed.server.breaker());
        assert_eq!(mixed.dead().await, 0);
        mixed.server.shutdown(Duration::ZERO).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_good_message_does_not_wait_for_others_that_trapped_long_before_it_came() {
    let mixed = Mixed::serve([(BAD, 0); 40], 4).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(matches!(mixed.server.breaker(), BreakerState::Open { pause_ms: 300_000 }), "{:?}", mixed.server.breaker());
    mixed.publish([(GOOD, 0)]).await;
    let took = mixed.until_acked(1, Duration::from_secs(3600)).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn no_message_of_a_receiver_that_is_broken_for_an_hour_dies() {
    for messages in [6, 40, 500] {
        let mixed = Mixed::serve(vec![(BAD, 1); messages], 4).await;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(mixed.dead().await, 0, "of {messages}");
        let calls = mixed.calls();
        assert!(calls < 5 + 3 + 64 + 25, "{calls} tries of {messages} messages");
        mixed.server.shutdown(Duration::ZERO).await.unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn however_they_come_good_messages_are_done_within_ten_seconds(
        order in Just([[BAD; 64].as_slice(), &[GOOD; 300]].concat()).prop_shuffle(),
        burst in any::<bool>(),
        takes in prop::collection::vec(0..10_u64, 364),
        concurrency in 1..=64_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut messages: Vec<_> = order.into_iter().zip(takes).collect();
            if burst {
                messages.sort_by_key(|(kind, _)| *kind);
            }
            let mixed = Mixed::serve(messages, concurrency).await;
            let took = mixed.until_acked(300, Duration::from_secs(20)).await;
            prop_assert!(took < Duration::from_secs(10), "{took:?}");
            let BreakerState::Open { pause_ms } = mixed.server.breaker() else { return Ok(()) };
            prop_assert!(pause_ms <= 300_000, "{pause_ms}");
            Ok(())
        })?;
    }
}
