//! Publishing by guests, and its limits.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

mod guest;

use guest::{core_module, message, options, receiver};
use wasmpost_msg::{Disposition, Publication, Reason, ReceiveError, Receiver};
use wasmpost_sandbox::{Limits, ReceiverOptions};

/// Publishes to the topic that lies at 2048: no attributes, and the message's body.
const FORWARD: &str = "(call $body (local.get $message) (i32.const 512))
    (call $publish (i32.const 2048) $length (i32.const 0) (i32.const 0)
        (i32.load (i32.const 512)) (i32.load (i32.const 516)) (i32.const 544))";
/// Returns ok if publishing did, and rejects with the kind of its error, a digit, otherwise.
const TELL: &str = "(if (result i32) (i32.eqz (i32.load8_u (i32.const 544)))
    (then (call $ok))
    (else
        (i32.store8 (i32.const 600) (i32.add (i32.const 48) (i32.load8_u (i32.const 552))))
        (call $fail (i32.const 2) (i32.const 600) (i32.const 1))))";
/// The digits for the errors of publishing.
const CLOSED: &str = "0";
const DENIED: &str = "1";
const TOO_LARGE: &str = "2";
const LIMIT_EXCEEDED: &str = "3";
const INVALID_ATTRIBUTE: &str = "4";

fn granted(pattern: &str) -> ReceiverOptions {
    let mut options = options();
    options.grants.publish.push(pattern.parse().unwrap());
    options
}

fn limited(change: impl FnOnce(&mut Limits)) -> ReceiverOptions {
    let mut options = granted("orders");
    change(&mut options.limits);
    options
}

/// The result of a guest for a message with a body, and the outbox after it.
async fn run(
    data: &str,
    text: &str,
    options: ReceiverOptions,
    body: &str,
) -> (Result<(), ReceiveError>, Vec<Publication>) {
    let message = message("m", 1, body.to_owned());
    let context = message.context.clone();
    let result = receiver(&core_module(data, text), options).receive(message).await;
    (result, context.outbox().take())
}

#[tokio::test]
async fn publications_of_a_guest_lie_in_the_outbox() {
    let (result, published) = run("orders", &format!("{FORWARD} {TELL}"), granted("orders"), "a body").await;
    assert_eq!(result, Ok(()));
    assert_eq!(published, [Publication::new("orders", Default::default(), "a body")]);
}

#[tokio::test]
async fn a_topic_without_a_grant_is_denied() {
    for topic in ["invoices", "Orders", "orders2", "../orders", "orders/../x", "*", ">", "", "orders\n", "оrders"] {
        let (result, published) = run(topic, &format!("{FORWARD} {TELL}"), granted("orders"), "x").await;
        let error = result.unwrap_err();
        assert_eq!((error.disposition(), error.text()), (Disposition::Reject, DENIED), "{topic:?}");
        assert_eq!(published, [], "{topic:?}");
    }
}

#[tokio::test]
async fn a_grant_of_everything_does_not_reach_names_that_brokers_misread() {
    for topic in ["../x", "*", "a.*", ">", "", "a b", "a\0"] {
        let (result, published) = run(topic, &format!("{FORWARD} {TELL}"), granted("*"), "x").await;
        assert_eq!((result.unwrap_err().text(), published.len()), (DENIED, 0), "{topic:?}");
    }
}

#[tokio::test]
async fn a_failed_call_leaves_discarding_to_whoever_owns_the_outbox() {
    let text = format!("{FORWARD} unreachable");
    let (result, published) = run("orders", &text, granted("orders"), "x").await;
    assert_eq!(result.unwrap_err().reason(), Reason::Trap);
    assert_eq!(published.len(), 1);
}

#[tokio::test]
async fn a_message_over_its_size_is_refused() {
    let options = limited(|limits| limits.publish_message_bytes = "4B".parse().unwrap());
    let (result, published) = run("orders", &format!("{FORWARD} {TELL}"), options, "five!").await;
    assert_eq!((result.unwrap_err().text(), published.len()), (TOO_LARGE, 0));
}

#[tokio::test]
async fn messages_over_the_bytes_of_a_delivery_are_refused() {
    let options = limited(|limits| limits.publish_bytes = "8B".parse().unwrap());
    let forward_again = "(call $publish (i32.const 2048) $length (i32.const 0) (i32.const 0)
        (i32.load (i32.const 512)) (i32.load (i32.const 516)) (i32.const 544))";
    let text = format!("{FORWARD} {forward_again} {TELL}");
    let (result, published) = run("orders", &text, options, "five!").await;
    assert_eq!((result.unwrap_err().text(), published.len()), (LIMIT_EXCEEDED, 1));
}

#[tokio::test]
async fn messages_over_their_number_are_refused() {
    // Publishes until it is refused.
    let text = format!(
        "(loop $again
            (call $publish (i32.const 2048) $length (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.const 544))
            (br_if $again (i32.eqz (i32.load8_u (i32.const 544)))))
        {TELL}"
    );
    let (result, published) = run("orders", &text, granted("orders"), "").await;
    assert_eq!((result.unwrap_err().text(), published.len()), (LIMIT_EXCEEDED, 100));
}

/// Publishes twice, of which the second time is refused.
fn one_too_many(then: &str) -> String {
    format!("{FORWARD} {FORWARD} {then}")
}

fn one_message() -> ReceiverOptions {
    limited(|limits| limits.publish_messages = 1)
}

#[tokio::test]
async fn a_failure_after_refused_publishing_is_told_as_the_publish_limit() {
    for then in [TELL, "unreachable", "(call $fail (i32.const 0) (i32.const 2048) (i32.const 1))"] {
        let (result, _) = run("orders", &one_too_many(then), one_message(), "x").await;
        assert_eq!(result.unwrap_err().reason(), Reason::PublishLimit, "{then}");
    }
    let too_many_bytes = limited(|limits| limits.publish_bytes = "4B".parse().unwrap());
    let (result, _) = run("orders", &format!("{FORWARD} {TELL}"), too_many_bytes, "five!").await;
    assert_eq!(result.unwrap_err().reason(), Reason::PublishLimit);
}

#[tokio::test]
async fn a_failure_after_refused_publishing_keeps_what_the_guest_asked_for() {
    let (result, _) = run("orders", &one_too_many(TELL), one_message(), "x").await;
    assert_eq!(result.unwrap_err().disposition(), Disposition::Reject);
}

#[tokio::test]
async fn a_guest_that_makes_do_without_refused_publishing_is_ok_with_what_was_published() {
    let (result, published) = run("orders", &one_too_many("(call $ok)"), one_message(), "x").await;
    assert_eq!((result, published.len()), (Ok(()), 1));
}

#[tokio::test]
async fn a_guest_that_published_too_much_and_then_too_much_of_something_else_is_told_the_latter() {
    let loops = one_too_many("(loop $again (br $again)) unreachable");
    let mut options = one_message();
    options.limits.cpu = "100ms".parse().unwrap();
    let (result, _) = run("orders", &loops, options, "x").await;
    assert_eq!(result.unwrap_err().reason(), Reason::CpuLimit);
}

#[tokio::test]
async fn writers_left_open_hold_no_more_than_a_delivery_may_publish() {
    // Opens writers and writes a thousand bytes to each until a write is refused.
    let text = format!(
        "(loop $again
            (call $new_writer (i32.const 2048) $length (i32.const 512))
            (if (i32.load8_u (i32.const 512)) (then unreachable))
            (call $write (i32.load (i32.const 520)) (i32.const 0) (i32.const 1000) (i32.const 544))
            (br_if $again (i32.eqz (i32.load8_u (i32.const 544)))))
        {TELL}"
    );
    let options = limited(|limits| limits.publish_bytes = "10KiB".parse().unwrap());
    let (result, published) = run("orders", &text, options, "").await;
    assert_eq!((result.unwrap_err().text(), published.len()), (LIMIT_EXCEEDED, 0));
}

#[tokio::test]
async fn a_writer_publishes_when_it_is_closed_and_once() {
    let text = format!(
        "(call $new_writer (i32.const 2048) $length (i32.const 512))
        (local.set $a (i32.load (i32.const 520)))
        (call $write (local.get $a) (i32.const 2048) (i32.const 3) (i32.const 544))
        (call $write (local.get $a) (i32.const 2051) (i32.const 3) (i32.const 544))
        (call $close (local.get $a) (i32.const 544))
        (if (i32.load8_u (i32.const 544)) (then unreachable))
        (call $close (local.get $a) (i32.const 544))
        (call $drop_writer (local.get $a))
        {TELL}"
    );
    let (result, published) = run("orders", &text, granted("orders"), "").await;
    assert_eq!(result.unwrap_err().text(), CLOSED);
    assert_eq!(published, [Publication::new("orders", Default::default(), "orders")]);
}

#[tokio::test]
async fn a_writer_dropped_unclosed_publishes_nothing() {
    let text = "(call $new_writer (i32.const 2048) $length (i32.const 512))
        (call $write (i32.load (i32.const 520)) (i32.const 2048) (i32.const 3) (i32.const 544))
        (call $drop_writer (i32.load (i32.const 520)))
        (call $ok)";
    assert_eq!(run("orders", text, granted("orders"), "").await, (Ok(()), vec![]));
}

/// Sets the attribute whose name is the first `name` bytes behind `orders`, and whose value is the rest.
fn set_attribute(name: usize, value: usize) -> String {
    format!(
        "(call $new_writer (i32.const 2048) (i32.const 6) (i32.const 512))
        (call $set_attribute (i32.load (i32.const 520)) (i32.const 2054) (i32.const {name})
            (i32.const {}) (i32.const {value}) (i32.const 544))
        (if (i32.eqz (i32.load8_u (i32.const 544))) (then (call $close (i32.load (i32.const 520)) (i32.const 544))))
        {TELL}",
        2054 + name
    )
}

#[tokio::test]
async fn attributes_go_with_the_message() {
    let (result, published) = run("orderscolourblue", &set_attribute(6, 4), granted("orders"), "").await;
    assert_eq!(result, Ok(()));
    assert_eq!(published[0].attributes.get("Colour"), Some("blue"));
}

#[tokio::test]
async fn attributes_that_are_none_or_the_hosts_are_refused() {
    let long = "n".repeat(300);
    let too_long = "v".repeat(5000);
    let pairs = [
        ("", "x"),
        ("na me", "x"),
        ("name", "a\r\nInjected: b"),
        ("name", "a\0"),
        ("wasmpost-hops", "0"),
        ("WASMPOST-ID", "x"),
        (&*long, "x"),
        ("name", &*too_long),
    ];
    for (name, value) in pairs {
        let text = set_attribute(name.len(), value.len());
        let (result, published) = run(&format!("orders{name}{value}"), &text, granted("orders"), "").await;
        assert_eq!((result.unwrap_err().text(), published.len()), (INVALID_ATTRIBUTE, 0), "{name:?} = {value:?}");
    }
}
