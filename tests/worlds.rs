//! Components that were written for other hosts: each world, with what goes in, what comes out, and how it ends.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

use std::sync::Arc;
use std::time::Duration;

use wasmpost_msg::{Disposition, Reason};
use wasmpost_sandbox::{ReceiverOptions, WasmReceiver};
use wasmpost_tests::{Place, guest};
use wasmpost_tests_host::outcome::{Outcome, pairs, receive, receiver, sandbox};

fn options() -> ReceiverOptions {
    let mut options = ReceiverOptions { topic: "orders".to_owned(), ..ReceiverOptions::default() };
    options.grants.publish.push("out".parse().unwrap());
    options
}

async fn run(name: &str, options: ReceiverOptions, attributes: &[(&str, &str)], body: &str) -> Outcome {
    receive(&receiver(&std::fs::read(guest(name)).unwrap(), options), attributes, body).await
}

#[tokio::test]
async fn wasi_messaging_gives_content_and_metadata_and_sends_them_on() {
    let attributes = [("Content-Type", "text/plain"), ("Colour", "blå"), ("Colour", "red"), ("Secret", "x")];
    let outcome = run("foreign-messaging", options(), &attributes, "hello").await;
    let expected = [("Content-Type", "text/plain"), ("Colour", "blå"), ("From", "orders")];
    let (topic, mut attributes, body) = outcome.sent();
    attributes.sort();
    let mut expected = pairs(&expected);
    expected.sort();
    assert_eq!((topic, attributes, &*body), ("out", expected, "hello"));
}

#[tokio::test]
async fn attributes_of_the_host_are_not_sent_on_by_a_component_that_copies_all() {
    let outcome = run("foreign-messaging", options(), &[], "hello").await;
    assert_eq!(outcome.sent().1, pairs(&[("From", "orders")]));
}

#[tokio::test]
async fn an_error_of_wasi_messaging_is_a_retry() {
    let outcome = run("foreign-messaging", options(), &[], "retry").await;
    assert_eq!(outcome.failed(), (Disposition::Retry, Reason::Failed, "not now"));
}

#[tokio::test]
async fn sending_without_a_grant_is_denied_in_every_world_that_sends() {
    for name in ["foreign-messaging", "foreign-wasmcloud"] {
        let outcome = run(name, ReceiverOptions::default(), &[], "hello").await;
        let (disposition, _, text) = outcome.failed();
        assert_eq!(disposition, Disposition::Retry);
        assert!(text.contains("no grant to publish to topic \"out\""), "{name}: {text}");
    }
}

#[tokio::test]
async fn requests_are_refused_with_the_reason() {
    for name in ["foreign-messaging", "foreign-wasmcloud"] {
        let outcome = run(name, options(), &[], "request").await;
        let (.., text) = outcome.failed();
        assert!(text.contains("request to \"asked\" refused") && text.contains("no request-reply"), "{name}: {text}");
    }
}

#[tokio::test]
async fn a_reply_goes_to_the_topic_that_the_message_names() {
    let outcome = run("foreign-messaging", options(), &[("Reply-To", "out")], "reply").await;
    assert_eq!((outcome.sent().0, &*outcome.sent().2), ("out", "answer"));
    let outcome = run("foreign-messaging", options(), &[], "reply").await;
    assert_eq!(outcome.failed().2, "the message has no attribute Reply-To that names a topic for answers");
}

#[tokio::test]
async fn wasmcloud_gives_subject_body_and_reply_to_and_publishes() {
    let outcome = run("foreign-wasmcloud", options(), &[("Reply-To", "answers")], "hello").await;
    assert_eq!(outcome.sent(), ("out", pairs(&[("Reply-To", "answers")]), "orders: hello".to_owned()));
    let outcome = run("foreign-wasmcloud", options(), &[], "retry").await;
    assert_eq!(outcome.failed(), (Disposition::Retry, Reason::Failed, "not now"));
}

#[tokio::test]
async fn the_redis_trigger_of_spin_says_ok_or_error() {
    assert_eq!(run("foreign-spin", options(), &[], "hello").await.result, Ok(()));
    let outcome = run("foreign-spin", options(), &[], "retry").await;
    assert_eq!((outcome.failed().0, outcome.failed().1), (Disposition::Retry, Reason::Failed));
}

#[tokio::test]
async fn the_status_of_a_response_says_what_becomes_of_the_message() {
    let retry = |text| (Disposition::Retry, Reason::Failed, text);
    let reject = |text| (Disposition::Reject, Reason::Rejected, text);
    let after =
        (Disposition::RetryAfter(Duration::from_secs(3)), Reason::Failed, "status 503 Service Unavailable: e: retry");
    let cases = [
        ("retry", after),
        ("reject", reject("status 400 Bad Request: e: reject")),
        ("status 418", reject("status 418 I'm a teapot: e: status 418")),
        ("status 408", retry("status 408 Request Timeout: e: status 408")),
        ("status 425", retry("status 425 Too Early: e: status 425")),
        ("status 429", retry("status 429 Too Many Requests: e: status 429")),
        ("status 500", retry("status 500 Internal Server Error: e: status 500")),
        ("status 302", retry("status 302 Found: e: status 302")),
        ("silence", retry("handler gave no response")),
        ("unfinished", retry("handler returned before its response was complete")),
    ];
    for (body, expected) in cases {
        let outcome = run("foreign-http", options(), &[("X-Github-Event", "e")], body).await;
        assert_eq!((outcome.failed(), outcome.published.len()), (expected, 0), "{body}");
    }
    for body in ["hello", "status 204"] {
        let outcome = run("foreign-http", options(), &[], body).await;
        assert_eq!((outcome.result, outcome.published.len()), (Ok(()), 0), "{body}");
    }
}

#[tokio::test]
async fn the_body_of_a_response_goes_to_the_topic_that_the_operator_chose() {
    let output = || ReceiverOptions { output: Some("answers".to_owned()), ..options() };
    let large = "x".repeat(1_000_000);
    for body in ["hello", &*large] {
        let outcome = run("foreign-http", output(), &[("X-Github-Event", "push")], body).await;
        let expected = ("answers", pairs(&[("Content-Type", "text/plain")]), format!("push: {body}"));
        assert_eq!(outcome.sent(), expected);
    }
    let mut limited = output();
    limited.limits.publish_message_bytes = "1KiB".parse().unwrap();
    let outcome = run("foreign-http", limited, &[], &large[..4096]).await;
    assert_eq!(outcome.failed().2, "response is larger than 1KiB, the most that a message may have");
}

#[tokio::test]
async fn a_command_reads_the_body_and_finds_the_attributes_in_its_environment() {
    let output = ReceiverOptions { output: Some("answers".to_owned()), ..options() };
    let attributes = [("X-Github-Event", "push"), ("Colour", "red"), ("Colour", "blå")];
    let outcome = run("foreign-cli", output, &attributes, "hello").await;
    let written = "MSG_X_GITHUB_EVENT=push\nMSG_COLOUR=red, blå\nWASMPOST_ID=id-7\nWASMPOST_ATTEMPT=3\nhello";
    assert_eq!(outcome.sent(), ("answers", vec![], written.to_owned()));
}

#[tokio::test]
async fn the_exit_code_of_a_command_says_what_becomes_of_the_message() {
    let cases = [
        ("retry", Disposition::Retry, "exit code 75, which says to try again later"),
        ("reject", Disposition::Reject, "exit code 65, which says that the message is faulty"),
        ("fail", Disposition::Retry, "exit code 1"),
    ];
    for (body, disposition, text) in cases {
        let outcome = run("foreign-cli", options(), &[], body).await;
        let (actual, _, actual_text) = outcome.failed();
        assert_eq!((actual, actual_text), (disposition, text), "{body}");
    }
    let outcome = run("foreign-cli", options(), &[], "hello").await;
    assert_eq!((outcome.result, outcome.published.len()), (Ok(()), 0));
}

#[tokio::test]
async fn a_crash_and_an_endless_loop_are_ended_in_every_world() {
    for name in ["foreign-messaging", "foreign-wasmcloud", "foreign-spin", "foreign-http", "foreign-cli"] {
        let outcome = run(name, options(), &[], "poison").await;
        assert_eq!((outcome.failed().0, outcome.failed().1), (Disposition::Retry, Reason::Trap), "{name}");
        let mut limited = options();
        limited.limits.cpu = "20ms".parse().unwrap();
        let outcome = run(name, limited, &[], "loop").await;
        assert_eq!((outcome.failed().0, outcome.failed().1), (Disposition::Retry, Reason::CpuLimit), "{name}");
    }
}

/// A command as compilers for preview 1 leave it: it copies its input to its output, or exits with a code that is the
/// first byte of the input if that is not a letter.
const PREVIEW1: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 64))
        (i32.store (i32.const 4) (i32.const 1024))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (if (i32.eq (i32.load8_u (i32.const 64)) (i32.const 65)) (then (call $exit (i32.const 65))))
        (i32.store (i32.const 4) (i32.load (i32.const 8)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

#[tokio::test]
async fn a_core_module_that_is_a_command_of_preview_1_runs_as_it_is() {
    let core = wat::parse_str(PREVIEW1).unwrap();
    let command = receiver(&core, ReceiverOptions { output: Some("answers".to_owned()), ..options() });
    assert_eq!(receive(&command, &[], "hello").await.sent(), ("answers", vec![], "hello".to_owned()));
    // The adapter of preview 1 tells no codes apart.
    assert_eq!(receive(&command, &[], "A").await.failed(), (Disposition::Retry, Reason::Failed, "exit code 1"));
}

#[tokio::test]
async fn a_command_gets_a_fresh_instance_for_each_message_even_if_instances_are_reused() {
    let bytes = std::fs::read(guest("foreign-cli")).unwrap();
    let output = Some("answers".to_owned());
    let command = receiver(&bytes, ReceiverOptions { output, reuse: 100, ..options() });
    for body in ["one", "two"] {
        assert!(receive(&command, &[], body).await.sent().2.ends_with(body), "{body}");
    }
}

#[tokio::test]
async fn a_handler_of_http_answers_many_messages_with_one_instance() {
    let bytes = std::fs::read(guest("foreign-http")).unwrap();
    let output = Some("answers".to_owned());
    let handler = receiver(&bytes, ReceiverOptions { output, reuse: 100, ..options() });
    for number in 0..20 {
        let body = format!("message {number}");
        assert!(receive(&handler, &[], &body).await.sent().2.ends_with(&body), "{body}");
    }
}

#[test]
fn a_component_of_several_worlds_is_refused_until_the_configuration_names_one() {
    let place = Place::default();
    let component = guest("foreign-several");
    let config = |more: &str| format!("[[receivers]]\nqueue = \"q\"\ncomponent = {component:?}\n{more}\n");
    let file = place.write("wasmpost.toml", config(""));
    let refused = place.run(&["check"]);
    let text = refused.exits(2).stderr();
    assert!(text.contains("wasmpost.toml:3:13"), "{text}");
    let worlds = "wasmpost:messaging/plugin@0.1.0, wasi:cli/command@0.2";
    assert!(text.contains(&format!("several worlds: {worlds}; say which to use with world = \"...\"")), "{text}");

    place.write("wasmpost.toml", config("world = \"wasi:http/proxy\""));
    let text = place.run(&["check"]).exits(2).stderr();
    assert!(text.contains("does not implement world \"wasi:http/proxy\", but wasmpost:messaging/plugin"), "{text}");

    let body = place.write("body", "hello");
    place.run(&["publish", "q", body.to_str().unwrap()]).exits(0);
    std::fs::write(&file, config("world = \"wasmpost:messaging/receiver\"")).unwrap();
    place.run(&["run", "--until-empty", "--log", "error"]).exits(0);
    let queue = &place.run(&["queues", "--json"]).exits(0).json()[0];
    assert_eq!((&queue["acked"], &queue["dead"]), (&1.into(), &0.into()));
}

#[test]
fn the_world_of_a_component_is_shown() {
    let place = Place::default();
    let worlds = |name: &str| {
        let shown = place.run(&["inspect", "--json", guest(name).to_str().unwrap()]);
        shown.exits(0).json()["worlds"].clone()
    };
    let cases = [
        ("foreign-messaging", "wasi:messaging/messaging-core@0.2.0-draft"),
        ("foreign-wasmcloud", "wasmcloud:messaging@0.2.0"),
        ("foreign-spin", "fermyon:spin/redis-trigger"),
        ("foreign-http", "wasi:http/proxy@0.2"),
        ("foreign-cli", "wasi:cli/command@0.2"),
        ("echo", "wasmpost:messaging/plugin@0.1.0"),
    ];
    for (name, world) in cases {
        assert_eq!(worlds(name), serde_json::json!([world]), "{name}");
    }
}

#[tokio::test]
async fn two_components_of_different_worlds_share_a_sandbox() {
    let sandbox = sandbox();
    for name in ["foreign-spin", "foreign-wasmcloud"] {
        let loaded = sandbox.load_file(&guest(name)).unwrap();
        let receiver = WasmReceiver::new(Arc::clone(&sandbox), loaded, options()).unwrap();
        assert_eq!(receive(&receiver, &[], "hello").await.result, Ok(()), "{name}");
    }
}

#[tokio::test]
async fn a_handler_of_http_of_wasi_0_3_answers_with_what_becomes_of_the_message() {
    let mut options = options();
    options.output = Some("answers".to_owned());
    let large = "x".repeat(200_000);
    for body in ["hello", &*large] {
        let outcome = run("wasi3-http", options.clone(), &[("X-Github-Event", "push")], body).await;
        let expected = ("answers", pairs(&[("Content-Type", "text/plain")]), format!("push: {body}"));
        assert_eq!(outcome.sent(), expected);
    }
    let outcome = run("wasi3-http", options.clone(), &[], "503").await;
    let text = "status 503 Service Unavailable: : 503";
    assert_eq!(outcome.failed(), (Disposition::RetryAfter(Duration::from_secs(3)), Reason::Failed, text));
    let outcome = run("wasi3-http", options, &[], "404").await;
    assert_eq!(outcome.failed(), (Disposition::Reject, Reason::Rejected, "status 404 Not Found: : 404"));
}

#[tokio::test]
async fn a_command_of_wasi_0_3_finds_what_one_of_0_2_does() {
    let mut options = options();
    options.output = Some("answers".to_owned());
    let outcome = run("wasi3-cli", options.clone(), &[("X-Github-Event", "push")], "hello").await;
    let (topic, _, written) = outcome.sent();
    assert_eq!(topic, "answers");
    for line in ["receiver\n", "MSG_X_GITHUB_EVENT=push\n", "WASMPOST_ID=id-7\n", "WASMPOST_ATTEMPT=3\n", "hello"] {
        assert!(written.contains(line), "{line} in {written}");
    }
    let outcome = run("wasi3-cli", options, &[], "fail").await;
    assert_eq!(outcome.failed(), (Disposition::Retry, Reason::Failed, "exit code 1"));
}

#[tokio::test]
async fn a_receiver_for_redis_of_spin_4_gets_the_body() {
    assert_eq!(run("wasi3-redis", options(), &[], "hello").await.result, Ok(()));
    let outcome = run("wasi3-redis", options(), &[], "fail").await;
    assert_eq!(outcome.failed(), (Disposition::Retry, Reason::Failed, "told to fail"));
    let outcome = run("wasi3-redis", options(), &[], "type").await;
    assert_eq!(outcome.failed(), (Disposition::Retry, Reason::Failed, "handle-message returned type-error"));
}
