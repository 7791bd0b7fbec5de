//! Several messages in one call of a component.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

mod guest;

use std::sync::Arc;

use guest::{built, core_module, message, options};
use parking_lot::Mutex;
use wasmpost_msg::{Attributes, Batch, Body, Context, Message, Publication, Reason, ReceiveError, Receiver};
use wasmpost_sandbox::{EngineOptions, LogRecord, LogSink, ReceiverOptions, Sandbox, Size, WasmReceiver};

/// The results of the messages of a call.
struct Outcome {
    results: Result<Vec<Result<(), ReceiveError>>, ReceiveError>,
    contexts: Vec<Context>,
}

impl Outcome {
    fn reason(&self) -> Reason {
        self.results.as_ref().unwrap_err().reason()
    }

    /// The messages that each published.
    fn published(&self) -> Vec<Vec<Publication>> {
        self.contexts.iter().map(|context| context.outbox().take()).collect()
    }
}

fn granted() -> ReceiverOptions {
    let mut options = options();
    options.grants.publish.push("out".parse().unwrap());
    options.limits.cpu = "50ms".parse().unwrap();
    options
}

/// A receiver in a sandbox for one instance.
fn receiver(options: ReceiverOptions) -> WasmReceiver {
    receiver_of("batching", options)
}

fn receiver_of(guest: &str, options: ReceiverOptions) -> WasmReceiver {
    let sandbox = Sandbox::new(EngineOptions { pool_instances: 1, ..EngineOptions::default() }).unwrap();
    let loaded = sandbox.load(&built(guest)).unwrap();
    assert_eq!(loaded.worlds(), ["wasmpost:messaging/batch-plugin@0.1.0"]);
    assert_eq!(loaded.takes_batches(None).ok(), Some(true));
    WasmReceiver::new(sandbox, loaded, options).unwrap()
}

/// A message that asks for something.
fn asking(id: &str, what: &str) -> Message {
    let attributes = Attributes::from_iter([("Do", what), ("Text", id)]);
    Message { attributes, ..message(id, 1, "") }
}

async fn receive_again(receiver: &WasmReceiver, messages: Vec<Message>, is_again: bool) -> Outcome {
    let contexts = messages.iter().map(|message| message.context.clone()).collect();
    let results = receiver.receive_batch(Batch { messages, is_again }).await;
    Outcome { results, contexts }
}

/// The outcome for messages that ask for something each.
async fn receive(receiver: &WasmReceiver, wishes: &[&str]) -> Outcome {
    let messages = wishes.iter().enumerate().map(|(number, wish)| asking(&format!("m{number}"), wish)).collect();
    receive_again(receiver, messages, false).await
}

#[tokio::test]
async fn each_message_has_its_own_result_and_its_own_outbox() {
    let outcome = receive(&receiver(granted()), &["", "fail", "write", "reject", ""]).await;
    let results = outcome.results.as_ref().unwrap();
    let told = |result: &Result<(), ReceiveError>| result.as_ref().map_err(ReceiveError::to_string).copied();
    assert_eq!(
        results.iter().map(told).collect::<Vec<_>>(),
        [Ok(()), Err("failed: asked to fail".into()), Ok(()), Err("rejected: asked to reject".into()), Ok(())]
    );
    let published = outcome.published();
    assert_eq!(published.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1, 0, 1]);
    let source = |place: usize| published[place][0].attributes.get("Source").map(str::to_owned);
    assert_eq!([0, 2, 4].map(source), ["m0", "m2", "m4"].map(|id| Some(id.to_owned())));
    assert_eq!((&published[0][0].body[..], &published[2][0].body[..]), (&b"m0"[..], &b"5"[..]));
}

#[tokio::test]
async fn publishing_that_belongs_to_no_message_is_refused_by_name_even_for_one() {
    for wishes in [&["topic", ""][..], &["topic"]] {
        let outcome = receive(&receiver(granted()), wishes).await;
        let error = outcome.results.as_ref().unwrap()[0].clone().unwrap_err();
        assert!(error.text().contains("topic.publish") && error.text().contains("through the message"), "{error}");
    }
}

#[tokio::test]
async fn a_message_that_comes_alone_is_a_batch_of_one() {
    let message = asking("m1", "");
    let context = message.context.clone();
    receiver(granted()).receive(message).await.unwrap();
    let published = context.outbox().take();
    assert_eq!(published[0].attributes.get("Size"), Some("1"));
    assert!(context.usage().cpu.as_nanos() > 0 && context.usage().component.is_some());
}

#[tokio::test]
async fn a_call_that_does_not_return_one_result_for_each_message_fails_as_a_whole() {
    for (wish, reason) in [
        ("shorten", Reason::ResultCount),
        ("lengthen", Reason::ResultCount),
        ("flood", Reason::ResultTooLarge),
        ("trap", Reason::Trap),
        ("loop", Reason::CpuLimit),
        ("hoard", Reason::MemoryLimit),
    ] {
        let mut wishes = vec![""; 5];
        wishes[2] = wish;
        if wish == "hoard" {
            wishes = vec![wish; 5];
        }
        let receiver = receiver(granted());
        assert_eq!(receive(&receiver, &wishes).await.reason(), reason, "{wish}");
        // Another instance serves the next, whatever became of this one.
        assert_eq!(receive(&receiver, &[""]).await.results, Ok(vec![Ok(())]), "{wish}");
    }
}

#[tokio::test]
async fn memory_that_a_batch_does_not_have_its_halves_have() {
    let receiver = receiver(granted());
    let outcome = receive(&receiver, &["hoard"; 3]).await;
    assert_eq!(outcome.results, Ok(vec![Ok(()); 3]));
    assert!(outcome.contexts[0].usage().memory_peak_bytes >= 48 << 20);
}

#[tokio::test]
async fn time_is_given_once_for_each_message() {
    let mut options = granted();
    options.limits.cpu = "30ms".parse().unwrap();
    let began = std::time::Instant::now();
    let outcome = receive(&receiver(options), &["loop", "", "", ""]).await;
    assert_eq!(outcome.reason(), Reason::CpuLimit);
    assert!(began.elapsed().as_millis() >= 120);
    assert!(outcome.results.as_ref().unwrap_err().text().contains("120ms"), "{:?}", outcome.results);
    assert!(outcome.contexts[3].usage().cpu.as_millis() >= 29, "each pays for its part");
}

#[tokio::test]
async fn what_a_message_publishes_too_much_is_its_own_fault() {
    let mut options = granted();
    options.limits.publish_messages = 0;
    let outcome = receive(&receiver(options), &["", "reject"]).await;
    let reasons: Vec<_> = outcome.results.unwrap().iter().map(|result| result.as_ref().unwrap_err().reason()).collect();
    assert_eq!(reasons, [Reason::PublishLimit, Reason::Rejected]);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_alone() {
    let mut options = granted();
    options.limits.body = Size(10);
    let large = Message { body: Body::from("more than ten bytes"), ..asking("m1", "") };
    let messages = vec![asking("m0", ""), large, asking("m2", "")];
    let outcome = receive_again(&receiver(options), messages, false).await;
    let results = outcome.results.as_ref().unwrap();
    assert_eq!((&results[0], &results[2]), (&Ok(()), &Ok(())));
    assert_eq!(results[1].as_ref().unwrap_err().reason(), Reason::BodyTooLarge);
    let sizes: Vec<_> =
        outcome.published().concat().iter().map(|one| one.attributes.get("Size").map(str::to_owned)).collect();
    assert_eq!(sizes, [Some("2".to_owned()), Some("2".to_owned())]);
}

#[tokio::test]
async fn a_reused_instance_has_one_batch_after_the_other_but_for_those_that_failed() {
    let receiver = receiver(ReceiverOptions { reuse: 1000, ..granted() });
    let peak = async |wishes: &[&str], is_again| {
        let messages = wishes.iter().enumerate().map(|(number, wish)| asking(&format!("m{number}"), wish)).collect();
        let outcome = receive_again(&receiver, messages, is_again).await;
        outcome.results.unwrap();
        outcome.contexts[0].usage().memory_peak_bytes
    };
    let one = peak(&["hoard"], false).await;
    assert!(peak(&[""; 3], false).await >= one, "it is the same instance");
    assert!(peak(&[""; 3], true).await < one, "it is a fresh one");
}

#[tokio::test]
async fn a_writer_that_is_kept_publishes_nothing_once_its_call_has_returned() {
    let receiver = receiver(ReceiverOptions { reuse: 1000, ..granted() });
    assert_eq!(receive(&receiver, &["keep writer", ""]).await.results, Ok(vec![Ok(()); 2]));
    let outcome = receive(&receiver, &["", "close kept writer"]).await;
    let results = outcome.results.as_ref().unwrap();
    let error = results[1].as_ref().unwrap_err().text();
    assert!(results[0].is_ok() && error.contains("the writer was closed before"), "{error}");
    assert_eq!(outcome.published().iter().map(Vec::len).collect::<Vec<_>>(), [1, 0]);
}

#[tokio::test]
async fn publishing_through_a_message_of_another_call_ends_the_instance() {
    let receiver = receiver_of("keeping", ReceiverOptions { reuse: 1000, ..granted() });
    assert_eq!(receive(&receiver, &["keep", "keep"]).await.results, Ok(vec![Ok(()); 2]));
    let outcome = receive(&receiver, &["", "use"]).await;
    let error = outcome.results.as_ref().unwrap_err();
    assert!(error.reason() == Reason::Trap && error.text().contains("not lent any more"), "{error}");
    assert!(outcome.published().iter().all(Vec::is_empty));
    // In a fresh instance nothing was kept.
    assert_eq!(receive(&receiver, &["", "use"]).await.results, Ok(vec![Ok(()); 2]));
}

#[tokio::test]
async fn an_instance_that_keeps_its_messages_ends_before_it_has_too_many_handles() {
    let mut options = ReceiverOptions { reuse: u32::MAX, ..granted() };
    options.limits.handles = 64;
    let receiver = receiver_of("keeping", options);
    for call in 0..100 {
        let outcome = receive(&receiver, &["keep"; 10]).await;
        assert_eq!(outcome.results, Ok(vec![Ok(()); 10]), "call {call}");
    }
}

#[tokio::test]
async fn lines_in_the_log_have_room_for_all_messages_together() {
    #[derive(Default)]
    struct Lines(Mutex<Vec<(String, String)>>);
    impl LogSink for Lines {
        fn record(&self, record: &LogRecord<'_>) {
            self.0.lock().push((record.message_id.to_owned(), record.text.to_owned()));
        }
    }
    let lines = Arc::new(Lines::default());
    let receiver = receiver(ReceiverOptions { log: lines.clone(), ..granted() });
    receive(&receiver, &["", "", ""]).await.results.unwrap();
    assert_eq!(*lines.0.lock(), [(String::new(), "3".to_owned())]);
}

#[tokio::test]
async fn single_calls_publish_through_their_message_as_well() {
    let core = core_module(
        "out",
        "(call $publish_through (local.get $message) (i32.const 2048) $length (i32.const 0) (i32.const 0)
            (i32.const 2048) (i32.const 2) (i32.const 512))
        (call $writer_of (local.get $message) (i32.const 2048) $length (i32.const 512))
        (call $write (i32.load (i32.const 520)) (i32.const 2048) (i32.const 3) (i32.const 528))
        (call $close (i32.load (i32.const 520)) (i32.const 528))
        (call $ok)",
    );
    let message = message("m1", 1, "");
    let context = message.context.clone();
    guest::receiver(&core, granted()).receive(message).await.unwrap();
    let bodies: Vec<_> = context.outbox().take().into_iter().map(|one| one.body).collect();
    assert_eq!(bodies, [&b"ou"[..], b"out"]);
}
