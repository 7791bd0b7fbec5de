//! The promises of the server: each delivery is settled by its verdict, and the server ends in order.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

mod bench;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bench::{Bench, LONG, Serving, body, counting};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;
use wasmpost_delivery::{AttemptVerdict, Broker, QueueSpec, Share, Threads};
use wasmpost_msg::{
    Attributes, GraceExpired, Message, Publication, Reason, ReceiveError, ReceiverFunc, ServeError, Server,
    ServerClosed, Topic,
};

#[tokio::test(start_paused = true)]
async fn a_message_is_acked_when_its_receiver_returns_ok() {
    let bench = Bench::new();
    bench.publish(&["a", "b"]).await;
    let serving = bench.serve(ReceiverFunc(async |_| Ok(()))).await;
    bench.drained().await;
    serving.stop().await;
    let stats = bench.stats("orders").await;
    assert_eq!((stats.acked, stats.dead), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_failing_message_is_redelivered_with_backoff_and_at_last_dead_lettered() {
    let bench = Bench::new();
    bench.publish(&["a"]).await;
    let (seen, mut times) = mpsc::unbounded_channel();
    let serving = bench
        .serve(ReceiverFunc(move |message: Message| {
            seen.send((message.context.attempt(), message.context.id().to_owned(), Instant::now())).unwrap();
            async move { Err(ReceiveError::retry(format!("{} failed", body(&message)))) }
        }))
        .await;
    bench.drained().await;
    serving.stop().await;
    let mut previous: Option<(u32, String, Instant)> = None;
    for expected in 1..=8_u32 {
        let (attempt, id, at) = times.recv().await.unwrap();
        assert_eq!(attempt, expected);
        if let Some((_, first_id, before)) = previous {
            assert_eq!(first_id, id);
            let waited = at - before;
            let backoff = Duration::from_secs(1 << (expected - 2));
            assert!(waited >= backoff && waited < backoff * 2, "{waited:?} for {backoff:?}");
        }
        previous = Some((attempt, id, at));
    }
    assert!(times.recv().await.is_none(), "there is no ninth attempt");
    let letters = bench.dead().await;
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].evidence.reason, letters[0].evidence.error.as_str()), (Reason::Attempts, "a failed"));
    assert_eq!(letters[0].attempts.len(), 8);
    assert_eq!(letters[0].attempts[6].delay.map(|delay| delay.as_secs() >= 64), Some(true));
    assert_eq!((letters[0].attempts[7].verdict, letters[0].attempts[7].delay), (AttemptVerdict::Reject, None));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_message_is_dead_after_one_attempt() {
    let bench = Bench::new();
    bench.publish(&["a"]).await;
    let serving = bench.serve(ReceiverFunc(async |_| Err(ReceiveError::reject("malformed")))).await;
    bench.drained().await;
    serving.stop().await;
    let letters = bench.dead().await;
    assert_eq!((letters[0].evidence.reason, letters[0].deliveries), (Reason::Rejected, 1));
    assert_eq!(letters[0].evidence.receiver.as_deref(), Some("receiver"));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_asks_for_a_later_time_gets_it() {
    let bench = Bench::new();
    bench.publish(&["a"]).await;
    let began = Instant::now();
    let serving = bench
        .serve(ReceiverFunc(async |message: Message| match message.context.attempt() {
            1 => Err(ReceiveError::retry_after(Duration::from_secs(3600), "closed until tomorrow")),
            _ => Ok(()),
        }))
        .await;
    bench.drained().await;
    assert!(began.elapsed() >= Duration::from_secs(3600));
    assert_eq!(bench.stats("orders").await.acked, 1);
    serving.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_fails_its_own_message_and_no_other() {
    let bench = Bench::new();
    bench.publish(&["good", "bad", "good"]).await;
    let serving = bench
        .serve(ReceiverFunc(async |message: Message| {
            assert_ne!(body(&message), "bad");
            Ok(())
        }))
        .await;
    bench.drained().await;
    serving.stop().await;
    assert_eq!(bench.stats("orders").await.acked, 2);
    let letters = bench.dead().await;
    assert_eq!((letters.len(), letters[0].evidence.reason, letters[0].deliveries), (1, Reason::Panic, 8));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_takes_too_long_is_interrupted_and_fails() {
    let mut bench = Bench::new();
    bench.options.timeout = Duration::from_secs(5);
    bench.publish(&["a"]).await;
    let serving = bench
        .serve(ReceiverFunc(async |message: Message| match message.context.attempt() {
            1 => std::future::pending().await,
            _ => Err(ReceiveError::reject("second attempt")),
        }))
        .await;
    bench.drained().await;
    serving.stop().await;
    let letters = bench.dead().await;
    assert_eq!((letters[0].attempts[0].reason, letters[0].attempts[0].duration.is_zero()), (Reason::Timeout, false));
}

#[tokio::test(start_paused = true)]
async fn what_a_receiver_publishes_is_forwarded_when_it_succeeds_and_dropped_when_it_fails() {
    let bench = Bench::new();
    bench.publish(&["a"]).await;
    let serving = bench
        .serve(ReceiverFunc(async |message: Message| {
            let mut writer = message.context.topic("invoices").new_writer();
            writer.attributes().set("Attempt", message.context.attempt().to_string());
            writer.write("invoice".into()).await.unwrap();
            writer.close().await.unwrap();
            if message.context.attempt() == 1 { Err(ReceiveError::retry("not yet")) } else { Ok(()) }
        }))
        .await;
    bench.drained().await;
    serving.stop().await;
    let invoices = bench.broker.queue(QueueSpec::new("invoices")).await.unwrap();
    let delivered = invoices.pull(10).await.unwrap();
    assert_eq!(delivered.len(), 1);
    assert_eq!((delivered[0].attributes.get("attempt"), delivered[0].hops), (Some("2"), 1));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_goes_in_circles_is_dead_lettered_at_the_seventeenth_hop() {
    let bench = Bench::new();
    bench.publish(&["a"]).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let serving = bench
        .serve(ReceiverFunc(move |message: Message| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move {
                message.context.topic("orders").new_writer().close().await.unwrap();
                Ok(())
            }
        }))
        .await;
    bench.drained().await;
    serving.stop().await;
    let letters = bench.dead().await;
    assert_eq!((letters.len(), letters[0].evidence.reason, letters[0].hops), (1, Reason::Loop, 17));
    assert_eq!(calls.load(Ordering::SeqCst), 17);
}

#[tokio::test(start_paused = true)]
async fn an_unpublishable_outbox_fails_the_delivery() {
    let bench = Bench::new();
    bench.publish(&["a"]).await;
    let serving = bench
        .serve(ReceiverFunc(async |message: Message| {
            message.context.outbox().push(Publication::new("no such\ntopic", Attributes::new(), ""));
            Ok(())
        }))
        .await;
    bench.drained().await;
    serving.stop().await;
    let letters = bench.dead().await;
    assert!(letters[0].evidence.error.contains("no such"), "{}", letters[0].evidence.error);
}

#[tokio::test(start_paused = true)]
async fn no_more_deliveries_are_in_flight_than_allowed() {
    let mut bench = Bench::new();
    bench.options.concurrency = 3;
    bench.publish(&["x"; 20]).await;
    let now = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let serving = bench.serve(counting(&now, &most)).await;
    bench.drained().await;
    serving.stop().await;
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn servers_with_one_share_do_not_exceed_them_together() {
    let mut bench = Bench::new();
    bench.options.share = Some(Arc::new(Share::new(2, None)));
    bench.publish(&["x"; 20]).await;
    let now = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let first = bench.serve(counting(&now, &most)).await;
    let second = bench.serve(counting(&now, &most)).await;
    bench.drained().await;
    first.stop().await;
    second.stop().await;
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_for_as_long_as_its_receiver_works() {
    let mut bench = Bench::new();
    bench.options.timeout = Duration::from_secs(1000);
    bench.publish(&["a"]).await;
    let serving = bench
        .serve(ReceiverFunc(async |_| {
            tokio::time::sleep(Duration::from_secs(600)).await;
            Ok(())
        }))
        .await;
    bench.drained().await;
    serving.stop().await;
    assert_eq!(bench.stats("orders").await.acked, 1);
}

/// A server whose only thread is taken by others, with two messages that it has leased.
struct Crowded {
    bench: Bench,
    serving: Serving,
    /// The attempts that began.
    starts: mpsc::UnboundedReceiver<u32>,
    /// Lets the thread go.
    go_on: std::sync::mpsc::Sender<()>,
    _threads: Threads,
}

impl Crowded {
    async fn new() -> Self {
        let threads = Threads::start(1, &Handle::current(), Box::new(|| ())).unwrap();
        let lane = threads.lane(1);
        let (at_work, mut is_taken) = mpsc::unbounded_channel();
        let (go_on, held) = std::sync::mpsc::channel();
        lane.spawn(async move {
            at_work.send(()).unwrap();
            let _: Result<(), _> = held.recv();
        });
        is_taken.recv().await.unwrap();
        let mut bench = Bench::new();
        bench.options.share = Some(Arc::new(Share::new(16, Some(lane))));
        bench.publish(&["a", "b"]).await;
        let (started, starts) = mpsc::unbounded_channel();
        let receiver = ReceiverFunc(move |message: Message| {
            started.send(message.context.attempt()).unwrap();
            async { Ok(()) }
        });
        let serving = bench.serve(receiver).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(bench.stats("orders").await.leased, 2);
        Self { bench, serving, starts, go_on, _threads: threads }
    }

    /// The attempts that began in the end.
    async fn begun(mut self) -> Vec<u32> {
        // The thread works in a time that is not paused.
        tokio::time::resume();
        self.go_on.send(()).unwrap();
        self.bench.drained().await;
        self.serving.stop().await;
        assert_eq!(self.bench.stats("orders").await.acked, 2);
        std::iter::from_fn(|| self.starts.try_recv().ok()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn leases_of_what_waits_for_a_thread_are_renewed_until_it_begins() {
    let crowded = Crowded::new().await;
    // Many leases long, and none lapses.
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(crowded.bench.stats("orders").await.leased, 2);
    assert_eq!(crowded.begun().await, [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_lost_its_lease_while_it_waited_for_a_thread_does_not_begin() {
    let crowded = Crowded::new().await;
    // All at once, as on a machine that slept.
    tokio::time::advance(Duration::from_secs(600)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(crowded.begun().await, [2, 2]);
}

#[tokio::test(start_paused = true)]
async fn shutdown_lets_messages_in_flight_finish_and_takes_no_more() {
    let mut bench = Bench::new();
    bench.options.concurrency = 1;
    bench.publish(&["a", "b"]).await;
    let (started, mut starts) = mpsc::unbounded_channel();
    let serving = bench
        .serve(ReceiverFunc(move |_| {
            started.send(()).unwrap();
            async {
                tokio::time::sleep(Duration::from_secs(10)).await;
                Ok(())
            }
        }))
        .await;
    starts.recv().await.unwrap();
    assert_eq!(serving.server.shutdown(LONG).await, Ok(ServerClosed));
    assert_eq!(serving.task.await.unwrap().unwrap(), ServerClosed);
    let stats = bench.stats("orders").await;
    assert_eq!((stats.acked, stats.ready, stats.leased), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_whose_grace_runs_out_gives_the_rest_back_uncounted_and_says_how_many() {
    let bench = Bench::new();
    bench.publish(&["a", "b", "c"]).await;
    let (started, mut starts) = mpsc::unbounded_channel();
    let serving = bench
        .serve(ReceiverFunc(move |_| {
            started.send(()).unwrap();
            std::future::pending()
        }))
        .await;
    for _ in 0..3 {
        starts.recv().await.unwrap();
    }
    assert_eq!(serving.server.shutdown(Duration::from_secs(5)).await, Err(GraceExpired { in_flight: 3 }));
    serving.task.await.unwrap().unwrap();
    let queue = bench.broker.queue(QueueSpec::new("orders")).await.unwrap();
    let again = queue.pull(10).await.unwrap();
    let counts: Vec<_> = again.iter().map(|delivery| (delivery.deliveries, delivery.failures)).collect();
    assert_eq!(counts, [(2, 0); 3]);
}

#[tokio::test(start_paused = true)]
async fn a_server_serves_once() {
    let bench = Bench::new();
    let serving = bench.serve(ReceiverFunc(async |_| Ok(()))).await;
    tokio::task::yield_now().await;
    let again = serving.server.serve(Arc::new(ReceiverFunc(async |_| Ok(())))).await;
    assert!(matches!(again, Err(ServeError::NotIdle)));
    serving.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_was_closed_ends_the_server_with_an_error() {
    let bench = Bench::new();
    let serving = bench.serve(ReceiverFunc(async |_| Ok(()))).await;
    tokio::task::yield_now().await;
    bench.broker.close().await.unwrap();
    assert!(matches!(serving.task.await.unwrap(), Err(ServeError::Broker(_))));
}
