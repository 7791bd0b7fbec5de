//! The crate for guests in Rust: a receiver written with it, in the host.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A fault fails the test.

use std::sync::Arc;
use std::time::Duration;

use wasmpost_msg::{Disposition, Reason};
use wasmpost_sandbox::ReceiverOptions;
use wasmpost_tests::guest;
use wasmpost_tests_host::outcome::{Lines, Outcome, deliver, pairs, receive, receiver};

fn options() -> ReceiverOptions {
    let mut options = ReceiverOptions::default();
    options.grants.publish.push("out".parse().unwrap());
    options.config.insert("key".to_owned(), "välue".to_owned());
    options
}

async fn run(wish: &str, options: ReceiverOptions, body: &str) -> Outcome {
    let component = std::fs::read(guest("guest-crate")).unwrap();
    receive(&receiver(&component, options), &[("Do", wish)], body).await
}

#[tokio::test]
async fn a_message_is_read_and_written_as_files_are() {
    for body in ["", "hello", &*"x".repeat(100_000)] {
        let outcome = run("copy", options(), body).await;
        assert_eq!(outcome.sent(), ("out", pairs(&[("Id", "id-7 3|blå")]), body.to_owned()));
        assert_eq!(outcome.published[0].delay, Duration::from_millis(1500));
    }
}

#[tokio::test]
async fn a_body_that_is_not_text_arrives_byte_by_byte() {
    let body: Vec<u8> = (0..=255).cycle().take(50_000).collect();
    let component = std::fs::read(guest("guest-crate")).unwrap();
    let outcome = deliver(&receiver(&component, options()), 1, &[("Do", "copy")], body.clone()).await;
    assert_eq!((outcome.result, outcome.published[0].body.to_vec()), (Ok(()), body));
}

#[tokio::test]
async fn a_body_that_was_read_in_part_gives_the_rest_once() {
    let body = format!("first\n{}", "x".repeat(50_000));
    assert_eq!(run("pieces", options(), &body).await.sent().2, "first 50000 0 0");
}

#[tokio::test]
async fn a_writer_that_is_not_closed_publishes_nothing() {
    let outcome = run("leave", options(), "").await;
    assert_eq!((outcome.result, outcome.published.len()), (Ok(()), 0));
}

#[tokio::test]
async fn a_closed_writer_says_so() {
    let text = "Err(Closed); not published: the writer was closed before";
    assert_eq!(run("close twice", options(), "").await.failed().2, text);
}

#[tokio::test]
async fn an_error_ends_the_delivery_as_it_is_said_to() {
    let text = "invalid digit found in string";
    let cases = [
        ("pass on", Disposition::Retry, Reason::Failed, text),
        ("put off", Disposition::RetryAfter(Duration::from_secs(7)), Reason::Failed, text),
        ("reject", Disposition::Reject, Reason::Rejected, text),
        ("dance", Disposition::Reject, Reason::Rejected, "cannot Some(\"dance\")"),
    ];
    for (wish, disposition, reason, text) in cases {
        assert_eq!(run(wish, options(), "").await.failed(), (disposition, reason, text), "{wish}");
    }
    let outcome = run("publish", options(), "").await;
    let (disposition, reason, text) = outcome.failed();
    assert_eq!((disposition, reason), (Disposition::Retry, Reason::Failed));
    assert!(text.starts_with("not published: ") && text.contains("\"ungranted\""), "{text}");
}

#[tokio::test]
async fn the_configuration_of_the_operator_is_read() {
    assert_eq!(run("write", options(), "").await.sent().2, "Some(\"välue\")");
    let without = ReceiverOptions { config: Default::default(), ..options() };
    assert_eq!(run("write", without, "").await.sent().2, "None");
}

#[tokio::test]
async fn lines_reach_the_log_at_their_levels_and_a_panic_does_with_its_text() {
    let lines = Arc::new(Lines::default());
    let logged = || ReceiverOptions { log: lines.clone(), ..options() };
    assert_eq!(run("log", logged(), "").await.result, Ok(()));
    let levels = ["Trace", "Debug", "Info", "Warn", "Error", "Critical"];
    let expected: Vec<_> = levels.iter().enumerate().map(|(at, level)| format!("{level} levels: {}", at + 1)).collect();
    assert_eq!(lines.all(), expected);

    assert_eq!(run("panic", logged(), "").await.failed().1, Reason::Trap);
    let last = lines.all().pop().unwrap();
    assert!(last.starts_with("Error panic: panicked at") && last.ends_with("dropped the ball"), "{last}");
}
