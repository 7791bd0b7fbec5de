//! The behaviour of the example receiver, the same in every language.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use wasmpost_msg::{Disposition, Reason};
use wasmpost_sandbox::ReceiverOptions;
use wasmpost_tests_host::outcome::{Lines, Outcome, deliver, pairs};

use crate::{Behaviour, Language};

macro_rules! behaviours {
    ($($name:ident),* $(,)?) => {
        /// Every behaviour with its name.
        pub(crate) const ALL: &[(&str, Behaviour)] = &[$((stringify!($name), $name)),*];
    };
}

behaviours![
    a_webhook_goes_to_the_topic_of_its_event,
    attributes_have_several_values_in_any_script,
    a_binary_body_of_a_mebibyte_goes_on_byte_by_byte,
    an_empty_body_goes_on_empty,
    a_topic_that_is_not_granted_is_a_retry,
    a_fork_is_put_off_once_as_long_as_configured,
    a_message_that_can_never_be_processed_is_rejected,
    a_crash_is_a_trap_that_the_log_explains,
    a_message_after_a_crash_is_processed,
    an_instance_that_is_used_again_does_the_same,
    an_instance_that_is_used_again_does_not_grow_for_ever,
];

const PUSH: &[(&str, &str)] = &[("X-Github-Event", "push")];
const BINARY: &[(&str, &str)] = &[("Content-Type", "application/octet-stream"), ("X-Github-Event", "release")];
const OCTO: &str = r#"{"action":"opened","repository":{"full_name":"octo/cat","id":7},"zen":[1,2.5e3,null]}"#;

/// How many messages of 64 KiB a receiver gets: too many for one that never frees memory.
const MANY: usize = 500;

/// The first delivery of a message to a receiver of its own.
fn run(language: &Language, runtime: &Runtime, attributes: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Outcome {
    run_with(language, runtime, language.options(), 1, attributes, body)
}

fn run_with(
    language: &Language,
    runtime: &Runtime,
    options: ReceiverOptions,
    attempt: u32,
    attributes: &[(&str, &str)],
    body: impl Into<Vec<u8>>,
) -> Outcome {
    runtime.block_on(deliver(&language.receiver(options), attempt, attributes, body.into()))
}

fn a_webhook_goes_to_the_topic_of_its_event(language: &Language, runtime: &Runtime) {
    let lines = Arc::new(Lines::default());
    let options = ReceiverOptions { log: lines.clone(), ..language.options() };
    let attributes = [
        ("X-Github-Event", "Pull_Request"),
        ("X-Other", "stays"),
        ("content-type", "application/json"),
        ("X-Github-Delivery", "d-1"),
    ];
    let outcome = run_with(language, runtime, options, 1, &attributes, OCTO);
    let expected = [
        ("X-Github-Event", "Pull_Request"),
        ("Content-Type", "application/json"),
        ("X-Github-Delivery", "d-1"),
        ("Action", "opened"),
        ("Repository", "octo/cat"),
    ];
    assert_eq!(outcome.sent(), ("github.pull_request", pairs(&expected), OCTO.to_owned()));
    assert_eq!(lines.all(), ["Info triage: id-7 to github.pull_request"]);
}

fn attributes_have_several_values_in_any_script(language: &Language, runtime: &Runtime) {
    let tags = ["grün", "", "日本語", "🦀 עברית"].map(|tag| ("X-Github-Tag", tag));
    let attributes = [PUSH, &tags].concat();
    let body = r#"{"action":"ge\u00e4ndert \ud83e\udd80 \"日\"","repository":{"full_name":"grün/\\/🐱"}}"#;
    let outcome = run(language, runtime, &attributes, body);
    let expected = [
        ("X-Github-Event", "push"),
        ("X-Github-Tag", "grün||日本語|🦀 עברית"),
        ("Action", "geändert 🦀 \"日\""),
        ("Repository", "grün/\\/🐱"),
    ];
    assert_eq!(outcome.sent(), ("github.push", pairs(&expected), body.to_owned()));
}

fn a_binary_body_of_a_mebibyte_goes_on_byte_by_byte(language: &Language, runtime: &Runtime) {
    let mut noise = 0x2545_f491_4f6c_dd1d_u64;
    let body: Vec<u8> = std::iter::repeat_with(|| {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        noise.to_le_bytes()[3]
    })
    .take(1 << 20)
    .collect();
    let outcome = run(language, runtime, BINARY, body.clone());
    assert_eq!((&outcome.result, outcome.published.len()), (&Ok(()), 1));
    assert!(outcome.published[0].body == body, "the body is another than was received");
}

fn an_empty_body_goes_on_empty(language: &Language, runtime: &Runtime) {
    let outcome = run(language, runtime, BINARY, "");
    assert_eq!(outcome.sent(), ("github.release", pairs(BINARY), String::new()));
}

fn a_topic_that_is_not_granted_is_a_retry(language: &Language, runtime: &Runtime) {
    let mut options = language.options();
    options.grants.publish = vec!["elsewhere".parse().unwrap()];
    let outcome = run_with(language, runtime, options, 1, PUSH, OCTO);
    let (disposition, reason, text) = outcome.failed();
    assert_eq!((disposition, reason, outcome.published.len()), (Disposition::Retry, Reason::Failed, 0));
    assert!(text.starts_with("not published: "), "{text}");
}

fn a_fork_is_put_off_once_as_long_as_configured(language: &Language, runtime: &Runtime) {
    let fork = |configured: Option<&str>, attempt| {
        let mut options = language.options();
        options.config.extend(configured.map(|millis| ("retry_after_ms".to_owned(), millis.to_owned())));
        run_with(language, runtime, options, attempt, &[("X-Github-Event", "fork")], "{}")
    };
    for (configured, millis) in [(None, 2000), (Some("250"), 250), (Some("86400000"), 86_400_000)] {
        let after = Disposition::RetryAfter(Duration::from_millis(millis));
        let outcome = fork(configured, 1);
        assert_eq!(outcome.failed(), (after, Reason::Failed, "fork is not ready yet"), "{configured:?}");
        assert_eq!(fork(configured, 2).sent().0, "github.fork");
    }
    let expected = (Disposition::Reject, Reason::Rejected, "retry_after_ms is no number: \"soon\"");
    assert_eq!(fork(Some("soon"), 1).failed(), expected);
}

fn a_message_that_can_never_be_processed_is_rejected(language: &Language, runtime: &Runtime) {
    let no_json = "body is not JSON: ";
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [u8], &'a str);
    let cases: &[Case] = &[
        (PUSH, b"{\"ref\":\"refs/heads/main\",", no_json),
        (PUSH, b"", no_json),
        (PUSH, b"{} {}", no_json),
        (PUSH, b"{\"name\":\"\xff\"}", no_json),
        (PUSH, b"[{}]", "body is JSON, but no object"),
        (PUSH, b"7", "body is "),
        (&[("X-Github-Delivery", "d-1")], b"{}", "attribute X-Github-Event is missing"),
        (&[("X-Github-Event", "a.b c")], b"{}", "attribute X-Github-Event is no event: \"a.b c\""),
        (&[("X-Github-Event", "")], b"{}", "attribute X-Github-Event is no event: \"\""),
    ];
    for (attributes, body, expected) in cases {
        let outcome = run(language, runtime, attributes, *body);
        let what = format!("{attributes:?} {}", String::from_utf8_lossy(body));
        assert!(outcome.result.is_err(), "{what}");
        let (disposition, reason, text) = outcome.failed();
        assert_eq!((disposition, reason), (Disposition::Reject, Reason::Rejected), "{what}");
        assert!(text.starts_with(expected), "{what}: {text}");
        assert_eq!(outcome.published.len(), 0, "{what}");
    }
}

fn a_crash_is_a_trap_that_the_log_explains(language: &Language, runtime: &Runtime) {
    let lines = Arc::new(Lines::default());
    let options = ReceiverOptions { log: lines.clone(), ..language.options() };
    let outcome = run_with(language, runtime, options, 1, PUSH, r#"{"poison":true}"#);
    let (disposition, reason, _) = outcome.failed();
    assert_eq!((disposition, reason, outcome.published.len()), (Disposition::Retry, Reason::Trap, 0));
    let log = lines.all().join("\n");
    assert!(log.contains(language.crash) && log.contains("poison message"), "{log}");
}

fn a_message_after_a_crash_is_processed(language: &Language, runtime: &Runtime) {
    let receiver = language.receiver(ReceiverOptions { reuse: 100, ..language.options() });
    runtime.block_on(async {
        for _ in 0..3 {
            assert_eq!(deliver(&receiver, 1, PUSH, OCTO.to_owned()).await.sent().0, "github.push");
            let crashed = deliver(&receiver, 1, PUSH, r#"{"poison":true}"#.to_owned()).await;
            assert_eq!(crashed.failed().1, Reason::Trap);
        }
        assert_eq!(deliver(&receiver, 1, PUSH, OCTO.to_owned()).await.sent().2, OCTO);
    });
}

/// Messages of several kinds, each with its expected result.
async fn various(language: &Language, reuse: u32) -> Vec<(Result<(), String>, Vec<(String, String, String)>)> {
    let receiver = language.receiver(ReceiverOptions { reuse, ..language.options() });
    let mut all = Vec::new();
    for number in 0..40 {
        let event = ["push", "issues", "fork", "star"][number % 4];
        let body = match number % 10 {
            9 => "no json".to_owned(),
            _ => format!(r#"{{"action":"number {number}","text":"{}"}}"#, "x".repeat(number * 100)),
        };
        let outcome = deliver(&receiver, number as u32 / 20 + 1, &[("X-Github-Event", event)], body).await;
        let told = |sent: &wasmpost_msg::Publication| {
            let attributes: Vec<_> = sent.attributes.iter().collect();
            (sent.topic.clone(), format!("{attributes:?}"), String::from_utf8_lossy(&sent.body).into_owned())
        };
        let published = outcome.published.iter().map(told).collect();
        all.push((outcome.result.map_err(|error| format!("{:?} {}", error.disposition(), error.text())), published));
    }
    all
}

fn an_instance_that_is_used_again_does_the_same(language: &Language, runtime: &Runtime) {
    let (fresh, reused) = runtime.block_on(async { (various(language, 1).await, various(language, 100).await) });
    assert_eq!(fresh.iter().filter(|(result, _)| result.is_ok()).count(), 31);
    assert_eq!(fresh, reused);
}

fn an_instance_that_is_used_again_does_not_grow_for_ever(language: &Language, runtime: &Runtime) {
    let mut options = ReceiverOptions { reuse: u32::MAX, ..language.options() };
    options.limits.memory = "32MiB".parse().unwrap();
    let receiver = language.receiver(options);
    let body = format!(r#"{{"text":"{}"}}"#, "x".repeat(64 << 10));
    let mut peaks = Vec::new();
    for number in 1..=MANY {
        let outcome = runtime.block_on(deliver(&receiver, 1, PUSH, body.clone()));
        assert_eq!(outcome.result, Ok(()), "message {number}, {peaks:?} MiB");
        peaks.push(outcome.usage.memory_peak_bytes >> 20);
    }
    assert!(peaks.iter().all(|peak| *peak < 20), "{peaks:?} MiB");
    // Not by ending after each message, either.
    assert!(peaks.windows(20).any(|peaks| peaks.is_sorted()), "{peaks:?} MiB");
}
