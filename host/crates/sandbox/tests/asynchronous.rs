//! Asynchronous components: loaded beside others, one message in an instance at a time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod guest;

use std::sync::Arc;
use std::time::Duration;

use guest::{Lines, built, core_module, message, options};
use wasmpost_msg::{Attributes, Body, Context, Disposition, Message, Publication, Reason, ReceiveError, Receiver};
use wasmpost_sandbox::{EngineOptions, LoadError, Profile, ReceiverOptions, Sandbox, WasmReceiver};

fn sandbox() -> Arc<Sandbox> {
    Sandbox::new(EngineOptions { pool_instances: 4, ..EngineOptions::default() }).unwrap()
}

fn granted() -> ReceiverOptions {
    let mut options = options();
    options.grants.publish.push("out".parse().unwrap());
    options
}

fn receiver(options: ReceiverOptions) -> WasmReceiver {
    let sandbox = sandbox();
    let loaded = sandbox.load(&built("together")).unwrap();
    WasmReceiver::new(sandbox, loaded, options).unwrap()
}

/// The result of one message, and the messages that it published.
async fn receive(receiver: &WasmReceiver, body: impl Into<Body>) -> (Result<(), ReceiveError>, Vec<Publication>) {
    let mut attributes = Attributes::new();
    ["green", "blå"].iter().for_each(|colour| attributes.append("Colour", *colour));
    let context = Context::new("m1", 3, Default::default());
    let message = Message { attributes, body: body.into(), context: context.clone() };
    let result = receiver.receive(message).await;
    (result, context.outbox().take())
}

#[tokio::test]
async fn a_body_comes_as_a_stream_and_everything_of_the_message_can_be_read() {
    let receiver = receiver(granted());
    let body: Vec<u8> = (0..1 << 20).map(|number: u32| (number % 251) as u8).collect();
    for body in [&b""[..], b"\0\xff", &body] {
        let (result, published) = receive(&receiver, body.to_vec()).await;
        assert_eq!((result, published.len()), (Ok(()), 1));
        assert!(published[0].body == body && published[0].topic == "out", "{} bytes", body.len());
        let colours: Vec<_> = published[0].attributes.iter().collect();
        assert_eq!(colours, [("Colour", &["green".to_owned(), "blå".to_owned()][..])]);
    }
}

#[tokio::test]
async fn a_message_is_written_in_pieces_once() {
    let (result, published) = receive(&receiver(granted()), "write").await;
    assert_eq!((result, published.len()), (Ok(()), 1));
    let written = &published[0];
    assert_eq!((&written.body[..], written.delay), (&b"in pieces"[..], Duration::from_secs(2)));
    assert_eq!((written.attributes.get("Attempt"), written.attributes.get("First")), (Some("3"), Some("green")));
}

#[tokio::test]
async fn each_way_to_fail_is_told_as_it_is() {
    let receiver = receiver(granted());
    let after = Disposition::RetryAfter(Duration::from_secs(3));
    let cases = [
        ("retry", Disposition::Retry, Reason::Failed, "not now"),
        ("later", after, Reason::Failed, "in a while"),
        ("reject", Disposition::Reject, Reason::Rejected, "never"),
        ("publish-and-retry", Disposition::Retry, Reason::Failed, "not now"),
    ];
    for (body, disposition, reason, text) in cases {
        let error = receive(&receiver, body).await.0.unwrap_err();
        assert_eq!((error.disposition(), error.reason(), error.text()), (disposition, reason, text), "{body}");
    }
    let error = receive(&receiver, "trap").await.0.unwrap_err();
    assert_eq!((error.disposition(), error.reason()), (Disposition::Retry, Reason::Trap));
    assert!(error.backtrace().is_some_and(|frames| frames.contains("receive")), "{error:?}");
}

#[tokio::test]
async fn without_a_grant_publishing_is_denied() {
    let error = receive(&receiver(options()), "hello").await.0.unwrap_err();
    assert!(error.text().contains("no grant to publish to topic"), "{error:?}");
}

#[tokio::test]
async fn each_message_has_a_fresh_instance() {
    let receiver = receiver(ReceiverOptions { reuse: 100, ..granted() });
    for _ in 0..3 {
        assert_eq!(receive(&receiver, "begun").await.1[0].body, "1");
    }
}

#[tokio::test]
async fn limits_hold_for_asynchronous_components() {
    let mut options = granted();
    options.limits.cpu = "100ms".parse().unwrap();
    options.limits.publish_messages = 3;
    let mut brief = options.clone();
    brief.limits.wall = "2s".parse().unwrap();
    let patient = receiver(options);
    let brief = receiver(brief);
    let cases = [
        ("loop", Reason::CpuLimit),
        ("yield-forever", Reason::CpuLimit),
        ("grow", Reason::MemoryLimit),
        ("flood 4", Reason::PublishLimit),
    ];
    for (body, reason) in cases {
        let error = receive(&patient, body).await.0.unwrap_err();
        assert_eq!((error.disposition(), error.reason()), (Disposition::Retry, reason), "{body}");
    }
    // It waits for what never comes: the engine sees it, or the time of the call ends.
    let error = receive(&brief, "wait").await.0.unwrap_err();
    assert!(matches!(error.reason(), Reason::Trap | Reason::Timeout), "{error:?}");
}

#[tokio::test]
async fn lines_belong_to_the_message() {
    let lines = Arc::new(Lines::default());
    let (result, _) = receive(&receiver(ReceiverOptions { log: lines.clone(), ..granted() }), "log").await;
    assert_eq!((result, lines.0.lock().clone()), (Ok(()), vec!["Logging together m1".to_owned()]));
}

#[tokio::test]
async fn components_of_both_kinds_share_the_places_of_a_sandbox() {
    let sandbox = Sandbox::new(EngineOptions { pool_instances: 1, ..EngineOptions::default() }).unwrap();
    let synchronous = core_module("", "(call $ok)");
    let asynchronous = built("together");
    let made = [synchronous, asynchronous].map(|bytes| {
        let loaded = sandbox.load(&bytes).unwrap();
        WasmReceiver::new(Arc::clone(&sandbox), loaded, ReceiverOptions { reuse: 10, ..granted() }).unwrap()
    });
    for _ in 0..3 {
        for receiver in &made {
            assert_eq!(receiver.receive(message("m", 1, "hello")).await, Ok(()));
        }
    }
}

#[test]
fn a_component_says_itself_that_it_is_asynchronous() {
    let loaded = sandbox().load(&built("together")).unwrap();
    assert_eq!(loaded.worlds(), ["wasmpost:messaging/plugin-async@0.1.0"]);
}

#[test]
fn a_host_for_hostile_guests_refuses_it_by_name_with_what_to_do() {
    let hostile = Sandbox::new(EngineOptions { hostile: true, ..EngineOptions::default() }).unwrap();
    let error = hostile.load(&built("together")).map(drop).unwrap_err();
    assert!(matches!(error, LoadError::AsyncForHostile), "{error}");
    let text = error.to_string();
    assert!(text.contains("hostile = true") && text.contains("build it for WASI 0.2"), "{text}");
    hostile.load(&core_module("", "(call $ok)")).unwrap();
}

#[test]
fn the_cache_has_components_of_both_kinds() {
    let directory = tempfile::tempdir().unwrap();
    let cached = |hostile, bytes: &[u8]| {
        let cache_dir = Some(directory.path().join("cache"));
        let options = EngineOptions { cache_dir, hostile, profile: Profile::Guard, ..Default::default() };
        Sandbox::new(options).unwrap().load(bytes).map(|loaded| loaded.is_from_cache())
    };
    for bytes in [core_module("", "(call $ok)"), built("together")] {
        assert_eq!([false; 2].map(|hostile| cached(hostile, &bytes).unwrap()), [false, true]);
    }
    assert!(matches!(cached(true, &built("together")), Err(LoadError::AsyncForHostile)), "not from the cache either");
}
