//! Components in Python that were written for other hosts. Shown as ignored where Python's toolchain is missing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A fault fails the test.

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wasmpost_msg::{Disposition, Reason};
use wasmpost_sandbox::ReceiverOptions;
use wasmpost_tests::{find_guest, guest};
use wasmpost_tests_host::outcome::{Lines, Outcome, pairs, receive, receiver};

fn options() -> ReceiverOptions {
    let mut options = ReceiverOptions { topic: "orders".to_owned(), ..ReceiverOptions::default() };
    options.grants.publish.push("out".parse().unwrap());
    options.output = Some("answers".to_owned());
    options.limits.table_elements = 200_000;
    options
}

async fn run(world: &str, options: ReceiverOptions, attributes: &[(&str, &str)], body: &str) -> Outcome {
    let component = std::fs::read(guest(&format!("foreign-python-{world}"))).unwrap();
    receive(&receiver(&component, options), attributes, body).await
}

async fn a_message_of_wasi_messaging_is_sent_on_with_its_metadata() {
    let options = ReceiverOptions { output: None, ..options() };
    let attributes = [("Content-Type", "text/plain"), ("Colour", "blå"), ("Secret", "x")];
    let outcome = run("messaging", options.clone(), &attributes, "hello").await;
    let (topic, mut sent, body) = outcome.sent();
    sent.sort();
    let expected = pairs(&[("Colour", "blå"), ("Content-Type", "text/plain"), ("From", "orders")]);
    assert_eq!((topic, sent, &*body), ("out", expected, "hello"));
    let outcome = run("messaging", options, &[], "retry").await;
    assert_eq!(outcome.failed(), (Disposition::Retry, Reason::Failed, "not now"));
}

async fn the_response_of_a_handler_of_http_says_what_becomes_of_the_message() {
    let large = "x".repeat(200_000);
    for body in ["hello", &*large] {
        let outcome = run("http", options(), &[("X-Github-Event", "push")], body).await;
        let expected = ("answers", pairs(&[("Content-Type", "text/plain")]), format!("push: {body}"));
        assert_eq!(outcome.sent(), expected);
    }
    let outcome = run("http", options(), &[], "retry").await;
    let text = "status 503 Service Unavailable: : retry";
    assert_eq!(outcome.failed(), (Disposition::RetryAfter(Duration::from_secs(3)), Reason::Failed, text));
    let outcome = run("http", options(), &[], "reject").await;
    let text = "status 400 Bad Request: : reject";
    assert_eq!(outcome.failed(), (Disposition::Reject, Reason::Rejected, text));
}

async fn a_command_reads_the_body_and_finds_the_attributes_in_its_environment() {
    let attributes = [("X-Github-Event", "push"), ("Colour", "red"), ("Colour", "blå")];
    let outcome = run("cli", options(), &attributes, "hello").await;
    let (topic, _, written) = outcome.sent();
    assert_eq!(topic, "answers");
    for line in ["MSG_X_GITHUB_EVENT=push\n", "MSG_COLOUR=red, blå\n", "WASMPOST_ID=id-7\n", "WASMPOST_ATTEMPT=3\n"] {
        assert!(written.contains(line), "{line} in {written}");
    }
    assert!(written.ends_with("\nhello"), "{written}");
}

async fn a_command_that_exits_with_a_code_is_tried_again_and_its_words_are_logged() {
    let lines = Arc::new(Lines::default());
    let options = ReceiverOptions { log: Arc::clone(&lines) as _, ..options() };
    let outcome = run("cli", options, &[], "retry").await;
    assert_eq!(outcome.failed(), (Disposition::Retry, Reason::Failed, "exit code 1"));
    assert!(lines.all().iter().any(|line| line.ends_with(": not now")), "{:?}", lines.all());
}

async fn a_crash_is_a_trap_with_the_words_of_python_in_the_log() {
    for world in ["messaging", "http", "cli"] {
        let lines = Arc::new(Lines::default());
        let options = ReceiverOptions { log: Arc::clone(&lines) as _, ..options() };
        let outcome = run(world, options, &[], "poison").await;
        assert_eq!((outcome.failed().0, outcome.failed().1), (Disposition::Retry, Reason::Trap), "{world}");
        let told = |line: &String| line.contains("RuntimeError: poison message");
        assert!(lines.all().iter().any(told), "{world}: {:?}", lines.all());
    }
}

async fn an_endless_loop_is_ended() {
    for world in ["messaging", "http", "cli"] {
        let mut limited = options();
        limited.limits.cpu = "50ms".parse().unwrap();
        let outcome = run(world, limited, &[], "loop").await;
        assert_eq!((outcome.failed().0, outcome.failed().1), (Disposition::Retry, Reason::CpuLimit), "{world}");
    }
}

macro_rules! trials {
    ($($name:ident),* $(,)?) => {{
        let is_missing = ["cli", "http", "messaging"]
            .iter()
            .any(|world| find_guest(&format!("foreign-python-{world}")).is_none());
        vec![$(Trial::test(concat!("foreign_python::", stringify!($name)), || {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on($name());
            Ok(())
        }).with_ignored_flag(is_missing)),*]
    }};
}

async fn a_handler_of_wasi_0_3_asks_by_http_and_its_answer_is_published() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
        String::from_utf8(head).unwrap()
    });
    let mut options = options();
    let url = format!("http://{address}/hello?a=b");
    let answered = |text: &str| ("answers", pairs(&[("Content-Type", "text/plain")]), text.to_owned());
    let denied = run("asking", options.clone(), &[], &url).await;
    assert_eq!(denied.sent(), answered("ErrorCode_HttpRequestDenied"));
    options.grants.http.push(format!("http://{address}").parse().unwrap());
    let outcome = run("asking", options, &[], &url).await;
    assert_eq!(outcome.sent(), answered("200 hello"));
    let head = served.await.unwrap();
    assert!(head.starts_with("GET /hello?a=b HTTP/1.1\r\n") && head.contains("x-asked-by: id-7\r\n"), "{head}");
}

fn main() {
    let trials = trials![
        a_message_of_wasi_messaging_is_sent_on_with_its_metadata,
        the_response_of_a_handler_of_http_says_what_becomes_of_the_message,
        a_command_reads_the_body_and_finds_the_attributes_in_its_environment,
        a_command_that_exits_with_a_code_is_tried_again_and_its_words_are_logged,
        a_crash_is_a_trap_with_the_words_of_python_in_the_log,
        an_endless_loop_is_ended,
        a_handler_of_wasi_0_3_asks_by_http_and_its_answer_is_published,
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
