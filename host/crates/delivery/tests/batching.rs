//! The promises of the server about batches: each message is settled by its own result, and none counts for the fault of
//! another.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

mod bench;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bench::{Bench, body};
use parking_lot::Mutex;
use tokio::time::Instant;
use wasmpost_delivery::{BatchOptions, Broker, QueueServerOptions, RetryPolicy};
use wasmpost_msg::{
    Attributes, Batch, Disposition, Message, Publication, Reason, ReceiveError, Receiver, SafeReceiver,
};

type Results = Result<Vec<Result<(), ReceiveError>>, ReceiveError>;

/// Takes down the bodies of each call, and answers as a function says.
struct Calls<F> {
    seen: Arc<Mutex<Vec<Vec<String>>>>,
    answer: F,
}

#[async_trait]
impl<F: Fn(&[String]) -> Results + Send + Sync> Receiver for Calls<F> {
    async fn receive(&self, message: Message) -> Result<(), ReceiveError> {
        let mut results = self.receive_batch(Batch { messages: vec![message], is_again: false }).await?;
        results.remove(0)
    }

    async fn receive_batch(&self, batch: Batch) -> Results {
        let bodies: Vec<_> = batch.messages.iter().map(body).collect();
        self.seen.lock().push(bodies.clone());
        for message in &batch.messages {
            let publication = Publication::new("out", Attributes::new(), body(message));
            message.context.outbox().push(publication);
        }
        (self.answer)(&bodies)
    }
}

fn batches(messages: usize) -> Bench {
    let mut bench = Bench::new();
    bench.options = QueueServerOptions {
        concurrency: 4 * messages,
        batch: Some(BatchOptions { messages, ..BatchOptions::default() }),
        retry: RetryPolicy { attempts_max: 2, ..RetryPolicy::default() },
        ..QueueServerOptions::default()
    };
    bench
}

/// The messages of each call of the receiver until the queue was empty.
async fn served(bench: &Bench, answer: impl Fn(&[String]) -> Results + Send + Sync + 'static) -> Vec<Vec<String>> {
    let seen = Arc::default();
    let serving = bench.serve(Calls { seen: Arc::clone(&seen), answer }).await;
    bench.drained().await;
    serving.stop().await;
    std::mem::take(&mut *seen.lock())
}

fn trap() -> ReceiveError {
    ReceiveError::new(Disposition::Retry, Reason::Trap, "unreachable")
}

fn all_ok(bodies: &[String]) -> Results {
    Ok(vec![Ok(()); bodies.len()])
}

async fn publish(bench: &Bench, count: usize) {
    let bodies: Vec<_> = (0..count).map(|number| number.to_string()).collect();
    bench.publish(&bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test(start_paused = true)]
async fn messages_come_in_one_call_as_many_as_a_batch_has() {
    let bench = batches(8);
    publish(&bench, 20).await;
    let seen = served(&bench, all_ok).await;
    assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [8, 8, 4]);
    assert_eq!(seen.concat(), (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
    let orders = bench.stats("orders").await;
    let out = bench.broker.stats().await.unwrap();
    assert_eq!((orders.acked, orders.dead), (20, 0), "{out:?}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_not_full_goes_when_its_first_message_has_waited() {
    let mut bench = batches(8);
    bench.options.batch = Some(BatchOptions { messages: 8, wait: Duration::from_secs(3), ..BatchOptions::default() });
    let seen = Arc::default();
    let serving = bench.serve(Calls { seen: Arc::clone(&seen), answer: all_ok }).await;
    let began = Instant::now();
    bench.publish(&["a"]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    bench.publish(&["b"]).await;
    bench.drained().await;
    assert_eq!(began.elapsed().as_secs(), 3);
    assert_eq!(*seen.lock(), [["a", "b"]]);
    serving.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_has_no_more_bytes_than_it_may_and_one_message_at_least() {
    let mut bench = batches(8);
    bench.options.batch = Some(BatchOptions { messages: 8, bytes: 10, ..BatchOptions::default() });
    bench.publish(&["1234567", "123", "1", "12345678901234567890", "1234"]).await;
    let seen = served(&bench, all_ok).await;
    assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1, 1], "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_has_one_message_of_an_ordering_key() {
    let bench = batches(8);
    let keyed = |key: &str, body: &str| {
        let attributes = Attributes::from_iter([("Ordering-Key", key)]);
        Publication::new("orders", attributes, body.to_owned())
    };
    let messages = [("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3"), ("b", "b2")];
    bench.broker.publish(messages.map(|(key, body)| keyed(key, body)).into()).await.unwrap();
    let seen = served(&bench, all_ok).await;
    let keys = |call: &Vec<String>| call.iter().map(|body| body[..1].to_owned()).collect::<Vec<_>>();
    for call in &seen {
        let mut keys = keys(call);
        keys.dedup();
        assert_eq!(keys.len(), call.len(), "{seen:?}");
    }
    let of = |key: &str| seen.concat().into_iter().filter(|body| body.starts_with(key)).collect::<Vec<_>>();
    assert_eq!((of("a"), of("b")), (vec!["a1".into(), "a2".into(), "a3".into()], vec!["b1".into(), "b2".into()]));
}

#[tokio::test(start_paused = true)]
async fn each_result_settles_its_own_message() {
    let bench = batches(4);
    bench.publish(&["ok", "fail", "reject", "fine"]).await;
    let queue = bench.broker.queue(wasmpost_delivery::QueueSpec::new("out")).await.unwrap();
    served(&bench, |bodies| {
        let result = |body: &String| match body.as_str() {
            "fail" => Err(ReceiveError::retry("no")),
            "reject" => Err(ReceiveError::reject("never")),
            _ => Ok(()),
        };
        Ok(bodies.iter().map(result).collect())
    })
    .await;
    let mut dead: Vec<_> = bench.dead().await;
    dead.sort_by_key(|letter| letter.attempts.len());
    let told = |letter: &wasmpost_delivery::DeadLetter| (letter.evidence.error.clone(), letter.attempts.len());
    assert_eq!(dead.iter().map(told).collect::<Vec<_>>(), [("never".to_owned(), 1), ("no".to_owned(), 2)]);
    let published = queue.pull(10).await.unwrap();
    let mut bodies: Vec<_> = published.iter().map(|delivery| delivery.body.to_vec()).collect();
    bodies.sort();
    assert_eq!(bodies, [&b"fine"[..], b"ok"], "failed ones publish nothing");
}

#[tokio::test(start_paused = true)]
async fn one_poison_message_among_64_is_found_and_no_other_is_counted() {
    let bench = batches(64);
    publish(&bench, 64).await;
    let poisoned = |bodies: &[String]| match bodies.contains(&"41".to_owned()) {
        true => Err(trap()),
        false => all_ok(bodies),
    };
    let seen = served(&bench, poisoned).await;
    let dead = bench.dead().await;
    assert_eq!((dead.len(), dead[0].evidence.reason, dead[0].attempts.len()), (1, Reason::Trap, 2));
    let stats = bench.stats("orders").await;
    assert_eq!((stats.acked, stats.dead), (63, 1));
    // Thirteen calls for the first attempt of all, one for the second of the poison.
    assert_eq!(seen.len(), 14, "{seen:?}");
    let healthy = seen.iter().filter(|call| !call.contains(&"41".to_owned())).map(Vec::len).sum::<usize>();
    assert_eq!(healthy, 63, "none of the others was processed twice");
}

#[tokio::test(start_paused = true)]
async fn a_list_of_another_length_counts_no_attempt_of_those_that_get_their_own_result_alone() {
    let bench = batches(8);
    publish(&bench, 8).await;
    let seen = served(&bench, |bodies| match bodies.len() {
        1 => all_ok(bodies),
        count => Ok(vec![Ok(()); count - 1]),
    })
    .await;
    assert_eq!((seen.len(), bench.stats("orders").await.acked, bench.dead().await.len()), (15, 8, 0));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_the_fault_of_the_one_message_that_is_found() {
    let bench = batches(4);
    bench.publish(&["a", "bad", "c", "d"]).await;
    served(&bench, |bodies| {
        assert!(!bodies.contains(&"bad".to_owned()));
        all_ok(bodies)
    })
    .await;
    let dead = bench.dead().await;
    assert_eq!((bench.stats("orders").await.acked, dead.len(), dead[0].evidence.reason), (3, 1, Reason::Panic));
}

#[tokio::test(start_paused = true)]
async fn what_is_the_fault_of_the_host_is_given_back_without_being_tried_by_halves() {
    let bench = batches(8);
    publish(&bench, 8).await;
    let calls = Arc::new(Mutex::new(0));
    let seen = served(&bench, move |bodies| {
        *calls.lock() += 1;
        match *calls.lock() {
            1 => Err(ReceiveError::new(Disposition::GiveBack, Reason::HostBusy, "no instance is free")),
            _ => all_ok(bodies),
        }
    })
    .await;
    assert_eq!((seen[0].len(), seen.concat().len(), bench.stats("orders").await.acked), (8, 16, 8));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_faults_on_everything_is_slowed_before_each_message_was_tried() {
    let bench = batches(64);
    publish(&bench, 64).await;
    let seen: Arc<Mutex<Vec<Vec<String>>>> = Arc::default();
    let serving = bench.serve(Calls { seen: Arc::clone(&seen), answer: |_: &[String]| Err(trap()) }).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let alone = seen.lock().iter().filter(|call| call.len() == 1).count();
    assert!(alone <= 40, "{alone}");
    assert_eq!(seen.lock().iter().filter(|call| call.len() > 8).count(), 3, "64, 32, 16 and no more");
    assert_ne!(serving.server.breaker(), wasmpost_delivery::BreakerState::Closed);
    serving.stop().await;
}

#[tokio::test(start_paused = true)]
async fn receivers_of_single_messages_process_a_batch_one_after_the_other() {
    let bench = batches(4);
    bench.publish(&["a", "b", "c"]).await;
    let receiver = SafeReceiver(wasmpost_msg::ReceiverFunc(async |message: Message| match body(&message).as_str() {
        "b" => Err(ReceiveError::reject("never")),
        _ => Ok(()),
    }));
    let serving = bench.serve(receiver).await;
    bench.drained().await;
    serving.stop().await;
    assert_eq!((bench.stats("orders").await.acked, bench.dead().await.len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn what_was_gathered_when_the_server_stops_is_given_back_uncounted() {
    let mut bench = batches(8);
    let hour = Duration::from_secs(3600);
    bench.options.batch = Some(BatchOptions { messages: 8, wait: hour, ..BatchOptions::default() });
    bench.publish(&["a", "b"]).await;
    let seen = Arc::default();
    let serving = bench.serve(Calls { seen: Arc::clone(&seen), answer: all_ok }).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(serving.server.in_flight(), 2);
    serving.stop().await;
    let stats = bench.stats("orders").await;
    assert_eq!((stats.ready, stats.leased, seen.lock().len()), (2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_leases_of_a_batch_are_renewed_while_it_is_at_work_and_while_it_is_gathered() {
    struct Slow;
    #[async_trait]
    impl Receiver for Slow {
        async fn receive(&self, _: Message) -> Result<(), ReceiveError> {
            Ok(())
        }

        async fn receive_batch(&self, batch: Batch) -> Results {
            tokio::time::sleep(Duration::from_secs(100)).await;
            Ok(batch.messages.iter().map(|_| Ok(())).collect())
        }
    }
    let mut bench = batches(8);
    bench.options.batch = Some(BatchOptions { messages: 8, wait: Duration::from_secs(100), ..BatchOptions::default() });
    bench.options.timeout = Duration::from_secs(60);
    bench.publish(&["a", "b"]).await;
    let serving = bench.serve(Slow).await;
    bench.drained().await;
    serving.stop().await;
    let stats = bench.stats("orders").await;
    assert_eq!((stats.acked, stats.dead, stats.redelivered.unwrap_or(0)), (2, 0, 0));
}
