//! Several messages at a time in one instance of an asynchronous component.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod guest;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use guest::{built, core_module, message, options};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use wasmpost_msg::{Body, Context, Disposition, Message, Publication, Reason, ReceiveError, Receiver};
use wasmpost_sandbox::{
    EngineOptions, LoadError, LogRecord, LogSink, MemoryBudget, ReceiverOptions, Sandbox, WasmReceiver,
};

/// The outcome of one message.
struct Outcome {
    result: Result<(), ReceiveError>,
    published: Vec<Publication>,
    context: Context,
}

impl Outcome {
    fn failed(&self) -> (Disposition, Reason) {
        let error = self.result.as_ref().unwrap_err();
        (error.disposition(), error.reason())
    }

    /// The body of the only message that was published.
    #[track_caller]
    fn said(&self) -> String {
        assert_eq!((&self.result, self.published.len()), (&Ok(()), 1));
        String::from_utf8(self.published[0].body.to_vec()).unwrap()
    }
}

const GIVEN_BACK: (Disposition, Reason) = (Disposition::GiveBack, Reason::InstanceEnded);

/// Options for so many messages in an instance.
fn together(concurrent: u32) -> ReceiverOptions {
    let mut options = ReceiverOptions { concurrent, ..options() };
    options.grants.publish.push("out".parse().unwrap());
    options.limits.cpu = "200ms".parse().unwrap();
    options
}

/// A receiver in a sandbox for so many instances.
fn receiver_in(pool_instances: u32, options: ReceiverOptions) -> WasmReceiver {
    let engine = EngineOptions { pool_instances, ..EngineOptions::default() };
    let sandbox = Sandbox::new(engine).unwrap();
    let loaded = sandbox.load(&built("together")).unwrap();
    WasmReceiver::new(sandbox, loaded, options).unwrap()
}

async fn receive_with(receiver: &WasmReceiver, context: Context, body: impl Into<Body>) -> Outcome {
    let mut message = Message { body: body.into(), ..message("", 1, "") };
    message.context = context.clone();
    let result = receiver.receive(message).await;
    Outcome { result, published: context.outbox().take(), context }
}

async fn receive(receiver: &WasmReceiver, id: &str, body: impl Into<Body>) -> Outcome {
    receive_with(receiver, Context::new(id, 1, CancellationToken::new()), body).await
}

/// The outcomes of messages that come at once.
async fn all<const COUNT: usize>(receiver: &WasmReceiver, bodies: [&str; COUNT]) -> [Outcome; COUNT] {
    let outcomes = join_all(bodies.map(|body| receive(receiver, body, body.to_owned()))).await;
    outcomes.try_into().map_err(|_| "as many as bodies").unwrap()
}

#[tokio::test]
async fn messages_are_in_one_instance_at_a_time() {
    // There is one instance, and each of them waits for the others.
    let said = all(&receiver_in(1, together(3)), ["meet 3"; 3]).await.map(|outcome| outcome.said());
    assert!(said.contains(&"3".to_owned()), "{said:?}");
}

#[tokio::test]
async fn never_more_messages_than_the_limit_are_in_an_instance() {
    let said = all(&receiver_in(4, ReceiverOptions { reuse: 100, ..together(2) }), ["yield 30"; 8])
        .await
        .map(|outcome| outcome.said());
    assert!(said.contains(&"2".to_owned()) && said.iter().all(|most| most == "1" || most == "2"), "{said:?}");
}

#[tokio::test]
async fn each_message_publishes_and_logs_as_itself() {
    #[derive(Default)]
    struct Lines(Mutex<Vec<(String, String)>>);
    impl LogSink for Lines {
        fn record(&self, record: &LogRecord<'_>) {
            self.0.lock().push((record.message_id.to_owned(), record.text.to_owned()));
        }
    }
    let lines = Arc::new(Lines::default());
    let mut options = ReceiverOptions { log: lines.clone(), ..together(8) };
    options.limits.publish_messages = 3;
    let receiver = receiver_in(1, options);
    let bodies = ["yield 9", "one", "two", "log", "flood 3", "flood 4", "write", "log"];
    let outcomes = all(&receiver, bodies).await;
    assert_eq!(outcomes.each_ref().map(|outcome| outcome.published.len()), [1, 1, 1, 1, 3, 3, 1, 1]);
    assert_eq!(
        (outcomes[1].said(), outcomes[2].said(), outcomes[6].said()),
        ("one".into(), "two".into(), "in pieces".into())
    );
    assert_eq!((outcomes[5].failed(), &outcomes[4].result), ((Disposition::Retry, Reason::PublishLimit), &Ok(())));
    assert!(lines.0.lock().iter().all(|(id, text)| id == "log" && text == "log") && lines.0.lock().len() == 2);
}

#[tokio::test]
async fn large_bodies_stream_side_by_side_and_need_not_be_read() {
    let receiver = receiver_in(1, together(4));
    let large = |seed: u32| (0..1 << 20).map(|number: u32| (number.wrapping_mul(seed) >> 8) as u8).collect::<Vec<_>>();
    let whole = [3, 5, 7].map(|seed| receive(&receiver, "whole", large(seed)));
    let (whole, unread) = tokio::join!(join_all(whole), receive(&receiver, "unread", large(9)));
    for (outcome, seed) in whole.iter().zip([3, 5, 7]) {
        assert!(outcome.result == Ok(()) && outcome.published[0].body == large(seed), "{:?}", outcome.result);
    }
    assert_eq!(unread.said(), "unread");
}

#[tokio::test]
async fn a_message_that_is_refused_too_many_topics_ends_the_instance() {
    let within = all(&receiver_in(1, together(2)), ["yield 9", "deny 100"]).await;
    assert_eq!(within[1].said(), "0 were granted");
    let beyond = all(&receiver_in(1, together(2)), ["yield 1000", "deny 101"]).await;
    assert_eq!(beyond.map(|outcome| outcome.failed()), [GIVEN_BACK, (Disposition::Retry, Reason::PublishLimit)]);
}

#[tokio::test]
async fn the_work_of_the_host_is_counted_for_the_message_that_it_was_done_for() {
    let [few, many] = all(&receiver_in(1, together(2)), ["yield 9", "deny 100"]).await;
    let [few, many] = [few, many].map(|outcome| outcome.context.usage().host_work);
    assert!(few < 100 && many > 100, "{few} {many}");
}

#[tokio::test]
async fn each_way_to_fail_leaves_the_others_at_work() {
    let outcomes = all(&receiver_in(1, together(4)), ["yield 30", "retry", "later", "reject"]).await;
    outcomes[0].said();
    let after = Disposition::RetryAfter(Duration::from_secs(3));
    let expected = [Disposition::Retry, after, Disposition::Reject];
    assert_eq!([1, 2, 3].map(|at: usize| outcomes[at].failed().0), expected);
}

#[tokio::test]
async fn a_trap_or_a_limit_ends_the_instance_and_the_others_are_given_back() {
    let receiver = receiver_in(4, together(3));
    let cases = [
        ("trap 3", Reason::Trap),
        ("loop 3", Reason::CpuLimit),
        ("yield-forever 3", Reason::CpuLimit),
        ("grow 3", Reason::MemoryLimit),
    ];
    for (bad, reason) in cases {
        let outcomes = all(&receiver, ["wait", bad, "wait"]).await;
        let expected = [GIVEN_BACK, (Disposition::Retry, reason), GIVEN_BACK];
        assert_eq!(outcomes.each_ref().map(Outcome::failed), expected, "{bad}");
        let used = outcomes.each_ref().map(|outcome| outcome.context.usage().cpu);
        assert!(reason != Reason::CpuLimit || used[1] > 4 * (used[0] + used[2]), "{bad}: who burnt it pays: {used:?}");
        assert_eq!(receive(&receiver, "m", "begun").await.said(), "1", "the instance is not used again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_takes_too_long_ends_the_instance_and_the_others_are_given_back() {
    let mut options = together(2);
    options.limits.wall = "10s".parse().unwrap();
    let receiver = receiver_in(1, options);
    let later = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        receive(&receiver, "later", "wait").await
    };
    let (first, later) = tokio::join!(receive(&receiver, "first", "wait"), later);
    assert_eq!((first.failed(), later.failed()), ((Disposition::Retry, Reason::Timeout), GIVEN_BACK));
}

#[tokio::test]
async fn a_cancelled_message_is_given_back_and_so_are_the_others() {
    let receiver = receiver_in(1, together(2));
    let cancelled = CancellationToken::new();
    let stop = async {
        tokio::task::yield_now().await;
        cancelled.cancel();
    };
    let context = Context::new("cancelled", 1, cancelled.clone());
    let (first, other, ()) =
        tokio::join!(receive_with(&receiver, context, "wait"), receive(&receiver, "other", "wait"), stop);
    assert_eq!((first.failed(), other.failed()), ((Disposition::GiveBack, Reason::Shutdown), GIVEN_BACK));
}

#[tokio::test]
async fn an_instance_ends_after_as_many_messages_as_it_may_have_or_with_the_last() {
    let receiver = receiver_in(4, ReceiverOptions { reuse: 5, ..together(2) });
    for _ in 0..2 {
        assert_eq!(receive(&receiver, "m", "begun").await.said(), "1", "nobody was left in it");
    }
    let staying = receive(&receiver, "staying", "wait");
    tokio::pin!(staying);
    assert!(futures::poll!(&mut staying).is_pending());
    for expected in ["2", "3", "4", "5", "1"] {
        let next = receive(&receiver, "m", "begun");
        tokio::select! {
            biased;
            _ = &mut staying => panic!("it never ends"),
            outcome = next => assert_eq!(outcome.said(), expected),
        }
    }
}

#[tokio::test]
async fn nobody_joins_an_instance_in_which_a_message_failed() {
    let receiver = receiver_in(4, ReceiverOptions { reuse: 100, ..together(3) });
    let staying = receive(&receiver, "staying", "wait");
    tokio::pin!(staying);
    assert!(futures::poll!(&mut staying).is_pending());
    let others = async {
        assert_eq!(receive(&receiver, "m", "begun").await.said(), "2");
        receive(&receiver, "m", "retry").await.result.unwrap_err();
        assert_eq!(receive(&receiver, "m", "begun").await.said(), "1");
    };
    tokio::select! {
        biased;
        _ = &mut staying => panic!("it is at work still"),
        () = others => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_on_several_threads_all_end_whatever_the_others_do() {
    let receiver = Arc::new(receiver_in(3, ReceiverOptions { reuse: 20, ..together(6) }));
    let bodies: [&'static str; 7] = ["hello", "yield 3", "retry", "hello", "trap", "log", "yield 9"];
    let tasks = bodies.into_iter().cycle().take(400).map(|body| {
        let receiver = Arc::clone(&receiver);
        tokio::spawn(async move { (body, receive(&receiver, body, body).await) })
    });
    for ended in join_all(tasks).await {
        let (body, outcome) = ended.unwrap();
        match (&outcome.result, body) {
            (Ok(()), _) => assert!(body != "trap" && body != "retry"),
            (Err(error), "trap") if error.reason() == Reason::Trap => {}
            (Err(error), "retry") if error.reason() == Reason::Failed => {}
            (Err(error), _) => assert_eq!((error.disposition(), error.reason()), GIVEN_BACK, "{body}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn an_instance_gives_back_its_place_and_its_memory() {
    let budget = MemoryBudget::new("8MiB".parse().unwrap());
    let receiver = receiver_in(1, ReceiverOptions { memory: Some(Arc::clone(&budget)), ..together(2) });
    for bodies in [["hello", "hello"], ["wait", "trap 2"], ["retry", "hello"]] {
        all(&receiver, bodies).await;
        assert_eq!(budget.held_bytes(), 0, "after {bodies:?}");
    }
}

#[test]
fn only_asynchronous_components_have_several_messages_in_an_instance() {
    let sandbox = Sandbox::new(EngineOptions::default()).unwrap();
    let loaded = sandbox.load(&core_module("", "(call $ok)")).unwrap();
    let refused = WasmReceiver::new(sandbox, loaded, together(2)).map(drop).unwrap_err();
    assert!(matches!(&refused, LoadError::OneAtATime { concurrent: 2, .. }), "{refused}");
}
