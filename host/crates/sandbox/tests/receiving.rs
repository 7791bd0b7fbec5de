//! The results of guests, and their view of the message.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

mod guest;

use std::time::{Duration, Instant};

use guest::{core_module, core_module_with, message, options, receive, receiver, sandbox};
use tokio_util::sync::CancellationToken;
use wasmpost_msg::{Attributes, Body, Context, Disposition, Message, Reason, Receiver};
use wasmpost_sandbox::{EngineOptions, Sandbox, WasmReceiver};

#[tokio::test]
async fn a_guest_that_returns_ok_has_processed_the_message() {
    assert_eq!(receive(&core_module("", "(call $ok)"), options()).await, Ok(()));
}

#[tokio::test]
async fn a_component_runs_as_its_core_module_does() {
    assert_eq!(receive(&guest::component("", "(call $ok)"), options()).await, Ok(()));
}

#[tokio::test]
async fn a_retry_keeps_the_text_of_the_guest() {
    let core = core_module("the database is away", "(call $fail (i32.const 0) (i32.const 2048) $length)");
    let error = receive(&core, options()).await.unwrap_err();
    assert_eq!((error.disposition(), error.reason()), (Disposition::Retry, Reason::Failed));
    assert_eq!(error.text(), "the database is away");
}

#[tokio::test]
async fn a_retry_after_counts_in_nanoseconds() {
    let core = core_module("busy", "(call $fail_after (i64.const 1500000000) (i32.const 2048) $length)");
    let error = receive(&core, options()).await.unwrap_err();
    assert_eq!(error.disposition(), Disposition::RetryAfter(Duration::from_millis(1500)));
    assert_eq!(error.text(), "busy");
}

#[tokio::test]
async fn a_reject_is_a_reject() {
    let core = core_module("no JSON", "(call $fail (i32.const 2) (i32.const 2048) $length)");
    let error = receive(&core, options()).await.unwrap_err();
    assert_eq!((error.disposition(), error.reason()), (Disposition::Reject, Reason::Rejected));
    assert_eq!(error.text(), "no JSON");
}

#[tokio::test]
async fn a_trap_is_retried_and_tells_where_it_happened() {
    let items = "(func $the_culprit unreachable)";
    let error = receive(&core_module_with(items, "", "(call $the_culprit) (call $ok)"), options()).await.unwrap_err();
    assert_eq!((error.disposition(), error.reason()), (Disposition::Retry, Reason::Trap));
    assert!(error.text().contains("unreachable"), "{error}");
    assert!(error.backtrace().unwrap().contains("the_culprit"), "{:?}", error.backtrace());
}

#[tokio::test]
async fn deep_recursion_is_a_trap_with_a_short_backtrace() {
    let items = "(func $deeper (result i32) (i32.add (call $deeper) (i32.const 1)))";
    let error = receive(&core_module_with(items, "", "(drop (call $deeper)) (call $ok)"), options()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Trap);
    assert!(error.backtrace().unwrap().lines().count() <= 33);
}

#[tokio::test]
async fn the_guest_sees_id_and_attempt() {
    // Fails with the id as its text, and says with the kind which attempt it saw.
    let body = "(call $id (local.get $message) (i32.const 512))
        (call $fail
            (select (i32.const 2) (i32.const 0) (i32.eq (call $attempt (local.get $message)) (i32.const 3)))
            (i32.load (i32.const 512)) (i32.load (i32.const 516)))";
    let error = receiver(&core_module("", body), options()).receive(message("id-7", 3, "")).await.unwrap_err();
    assert_eq!((error.disposition(), error.text()), (Disposition::Reject, "id-7"));
}

#[tokio::test]
async fn the_guest_finds_an_attribute_in_any_case() {
    let body = "(call $attribute (local.get $message) (i32.const 2048) $length (i32.const 512))
        (if (result i32) (i32.load8_u (i32.const 512))
            (then (call $fail (i32.const 2) (i32.load (i32.const 516)) (i32.load (i32.const 520))))
            (else (call $ok)))";
    let receiver = receiver(&core_module("x-GITHUB-event", body), options());
    let attributes: Attributes = [("X-GitHub-Event", "push"), ("X-GitHub-Event", "ping")].into_iter().collect();
    let error = receiver.receive(Message::new(attributes, Body::empty())).await.unwrap_err();
    assert_eq!(error.text(), "push");
    assert_eq!(receiver.receive(Message::default()).await, Ok(()));
}

#[tokio::test]
async fn the_guest_reads_the_body_in_pieces_up_to_its_end() {
    // Reads 4 bytes, then as many as 100, then once more, and fails with the second piece if the third is empty.
    let body = "(call $read (local.get $message) (i32.const 4) (i32.const 512))
        (call $read (local.get $message) (i32.const 100) (i32.const 520))
        (call $read (local.get $message) (i32.const 100) (i32.const 528))
        (if (i32.load (i32.const 532)) (then unreachable))
        (if (i32.ne (i32.load (i32.const 516)) (i32.const 4)) (then unreachable))
        (call $fail (i32.const 0) (i32.load (i32.const 520)) (i32.load (i32.const 524)))";
    let error = receiver(&core_module("", body), options()).receive(message("m", 1, "one two")).await.unwrap_err();
    assert_eq!((error.reason(), error.text()), (Reason::Failed, "two"));
}

#[tokio::test]
async fn nothing_survives_from_one_message_to_the_next() {
    // Counts in a global and in memory, and traps when either was there before.
    let items = "(global $count (mut i32) (i32.const 0))";
    let body = "(if (i32.or (global.get $count) (i32.load (i32.const 700))) (then unreachable))
        (global.set $count (i32.const 1)) (i32.store (i32.const 700) (i32.const 1))
        (call $ok)";
    let receiver = receiver(&core_module_with(items, "", body), options());
    for _ in 0..20 {
        assert_eq!(receiver.receive(message("m", 1, "")).await, Ok(()));
    }
}

#[tokio::test]
async fn a_body_from_a_reader_reaches_the_guest() {
    let body = "(call $body (local.get $message) (i32.const 512))
        (call $fail (i32.const 0) (i32.load (i32.const 512)) (i32.load (i32.const 516)))";
    let receiver = receiver(&core_module("", body), options());
    let error = receiver.receive(message("m", 1, Body::from_reader(&b"streamed"[..]))).await.unwrap_err();
    assert_eq!(error.text(), "streamed");
}

#[tokio::test]
async fn the_usage_of_a_delivery_is_told_whatever_came_out() {
    for (body, ok) in [("(call $ok)", true), ("unreachable", false)] {
        let message = message("m", 1, "");
        let context = message.context.clone();
        let receiver = receiver(&core_module("", body), options());
        assert_eq!(receiver.receive(message).await.is_ok(), ok);
        let usage = context.usage();
        assert_eq!(usage.memory_peak_bytes, 64 << 10);
        assert!(usage.wall > Duration::ZERO && usage.cpu > Duration::ZERO);
        assert!(usage.component.unwrap().digest.starts_with("sha256:"));
    }
}

#[tokio::test]
async fn a_cancelled_delivery_is_given_back() {
    let cancelled = CancellationToken::new();
    cancelled.cancel();
    let mut message = message("m", 1, "");
    message.context = Context::new("m", 1, cancelled);
    let endless = core_module("", "(loop $again (br $again)) unreachable");
    let error = receiver(&endless, options()).receive(message).await.unwrap_err();
    assert_eq!((error.disposition(), error.reason()), (Disposition::GiveBack, Reason::Shutdown));
}

#[tokio::test]
async fn a_delivery_waits_for_an_instance_while_others_have_all() {
    // The first guest holds the only instance while it loops.
    let sandbox = Sandbox::new(EngineOptions { pool_instances: 1, ..EngineOptions::default() }).unwrap();
    let endless = sandbox.load(&core_module("", "(loop $again (br $again)) unreachable")).unwrap();
    let quick = sandbox.load(&core_module("", "(call $ok)")).unwrap();
    let mut brief = options();
    brief.limits.cpu = "200ms".parse().unwrap();
    let (endless, quick) = (
        WasmReceiver::new(sandbox.clone(), endless, brief).unwrap(),
        WasmReceiver::new(sandbox, quick, options()).unwrap(),
    );
    let waiting = message("b", 1, "");
    let waited = waiting.context.clone();
    let burning = async {
        let burnt = endless.receive(message("a", 1, "")).await;
        (burnt, Instant::now())
    };
    let ((first, free_since), second) = tokio::join!(burning, quick.receive(waiting));
    let since_then = free_since.elapsed();
    assert_eq!(first.unwrap_err().reason(), Reason::CpuLimit);
    assert_eq!(second, Ok(()));
    // The time that it waited for the other does not count: its call began when the instance was free.
    assert!(waited.usage().wall <= since_then, "{:?} in {since_then:?}", waited.usage());
}

#[tokio::test(start_paused = true)]
async fn a_pool_without_a_free_instance_gives_the_delivery_back_in_the_end() {
    let sandbox = Sandbox::new(EngineOptions { pool_instances: 1, ..EngineOptions::default() }).unwrap();
    let loaded = sandbox.load(&core_module("", "(call $ok)")).unwrap();
    let receiver = WasmReceiver::new(sandbox, loaded, options()).unwrap();
    // The first has the place while its body does not come.
    let (reader, writer) = tokio::io::duplex(16);
    let (first, second) = tokio::join!(receiver.receive(message("a", 1, Body::from_reader(reader))), async {
        let second = receiver.receive(message("b", 1, "")).await;
        drop(writer);
        second
    });
    let error = second.unwrap_err();
    assert_eq!((error.disposition(), error.reason()), (Disposition::GiveBack, Reason::HostBusy));
    assert_eq!(first, Ok(()), "its body ended at last");
    assert_eq!(receiver.receive(message("c", 1, "")).await, Ok(()));
}

#[tokio::test]
async fn a_guest_of_several_core_instances_runs_in_a_pool_of_one() {
    // The adapter for preview 1 makes four core instances of one component; the pool counts whole components.
    let sandbox = Sandbox::new(EngineOptions { pool_instances: 1, ..EngineOptions::default() }).unwrap();
    let core =
        core_module("", "(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 512))) (call $ok)");
    let loaded = sandbox.load(&core).unwrap();
    assert_eq!(WasmReceiver::new(sandbox, loaded, options()).unwrap().receive(message("m", 1, "")).await, Ok(()));
}

#[tokio::test]
async fn receivers_share_a_sandbox() {
    let sandbox = sandbox();
    let one = sandbox.load(&core_module("one", "(call $fail (i32.const 0) (i32.const 2048) $length)")).unwrap();
    let two = sandbox.load(&core_module("two", "(call $fail (i32.const 0) (i32.const 2048) $length)")).unwrap();
    for (loaded, text) in [(one, "one"), (two, "two")] {
        let receiver = WasmReceiver::new(sandbox.clone(), loaded, options()).unwrap();
        assert_eq!(receiver.receive(message("m", 1, "")).await.unwrap_err().text(), text);
    }
}
