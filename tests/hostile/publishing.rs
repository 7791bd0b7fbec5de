//! Guests that publish too much, or to themselves.

use serde_json::{Value, json};

use crate::arena::Arena;
use crate::guests::*;

/// Time enough for what is slow in a build for tests.
const TIME: &str = "limits = { cpu = \"50s\", wall = \"50s\" }";

/// The last receiver that a message may come through has hop 16.
const HOP_OF_DEATH: u64 = 17;

#[test]
fn a12_a_flood_of_messages_fails_with_the_publish_limit_and_publishes_nothing() {
    let after = Arena::new().attacker(A12_FLOOD, TIME).fight();
    let letter = after.died(A12_FLOOD, "publish-limit");
    assert_eq!(letter["evidence"]["error"], "9900 were refused", "100 are allowed");
}

#[test]
fn a12_of_a_gibibyte_no_more_is_published_than_a_delivery_may() {
    let sized = |bytes: usize, messages: usize| {
        format!("config = {{ bytes = \"{bytes}\", messages = \"{messages}\" }}\n{TIME}")
    };
    let message = vec![json!({ "body": "" })];
    let arena = Arena::new().attacker_at("large", A12_GIBIBYTE, &sized(1 << 20, 1024), message.clone());
    let arena = arena.attacker_at("small", A12_GIBIBYTE, &sized(64 << 10, 100), message.clone());
    let after = arena.attacker_at("too-large", A12_GIBIBYTE, &sized((1 << 20) + 1, 3), message).fight();
    let lengths = after.seen_bytes();
    let count = |bytes: u64| lengths.iter().filter(|length| **length == bytes).count();
    assert_eq!((count(1 << 20), count(64 << 10), lengths.len()), (4, 64, 68), "4 MiB of those that a message may have");
    assert_eq!(after.stats("too-large")["acked"], 1);
}

/// A receiver at `from` that publishes everything to `to`.
fn forwarding(arena: Arena, from: &str, to: &str, messages: Vec<Value>) -> Arena {
    arena.attacker_at(from, A12_FORWARD, &format!("config = {{ to = {to:?} }}"), messages)
}

#[test]
fn a12_a_message_that_a_guest_publishes_to_itself_is_a_dead_letter_at_hop_17() {
    let after = forwarding(Arena::new(), "ring", "ring", vec![json!({ "id": "first", "body": "round" })]).fight();
    let letters = after.letters("ring");
    assert_eq!((letters.len(), &letters[0]["evidence"]["reason"]), (1, &"loop".into()));
    assert_eq!((&letters[0]["hops"], &after.whole(&letters[0])["body"]), (&HOP_OF_DEATH.into(), &"round".into()));
    assert_eq!(after.stats("ring")["acked"], HOP_OF_DEATH);
}

#[test]
fn a12_a_message_that_two_guests_pass_to_each_other_is_a_dead_letter_at_hop_17() {
    let arena = forwarding(Arena::new(), "ping", "pong", vec![json!({ "body": "ball" })]);
    let after = forwarding(arena, "pong", "ping", vec![]).fight();
    let letters = after.letters("pong");
    assert_eq!((letters.len(), &letters[0]["evidence"]["reason"]), (1, &"loop".into()));
    assert_eq!(letters[0]["hops"], HOP_OF_DEATH);
    assert_eq!((after.letters("ping").len(), &after.stats("ping")["acked"]), (0, &9.into()));
}

#[test]
fn a11_no_name_reaches_the_topics_of_another_tenant() {
    let names = [
        "@neighbour/work",
        "@neighbour/arrived",
        "@Neighbour/work",
        " @neighbour/work",
        "@neighbour/work\n",
        "@neighbour\0/work",
        "@neighbour/",
        "@neighbour",
        "@/work",
        "@",
        "../@neighbour/work",
        "../neighbour/work",
        "../x",
        "./x",
        "a/../../x",
        "@attacker/../@neighbour/work",
        "@attacker/../neighbour/work",
        "@attacker/seen",
        "*",
        ">",
        "",
        "@neighbour/*",
        "@*/work",
        "＠neighbour/work",
        "@ne\u{456}ghbour/work",
        "@neighbour\u{2215}work",
        "@neighbour%2fwork",
        // A topic of its own, whatever it sounds like.
        "neighbour/work",
    ];
    let message = json!({ "body": names.join("|") });
    let after = Arena::new().attacker_at(A11_REACH.name, A11_REACH, "", vec![message]).fight();
    assert_eq!(after.seen(), ["neighbour/work"]);
    assert_eq!(after.stats("neighbour/work")["ready"], 2);
    let logged = after.logged(A11_REACH.name);
    let denied = logged.iter().filter(|text| text.starts_with("publishing denied")).count();
    assert_eq!(denied, TOLD, "each is told once, and only the first few are");
    assert_eq!(after.more_denied(A11_REACH.name), 2 * names.len() - TOLD, "the others are counted");
}

#[test]
fn a11_a_flood_of_topics_without_a_grant_ends_the_delivery_and_writes_a_handful_of_lines() {
    let settings = "config = { bytes = \"400000\" }\nlimits = { cpu = \"50s\", wall = \"50s\" }";
    let after = Arena::new().attacker(A11_FLOOD, settings).fight();
    let letter = after.died(A11_FLOOD, "publish-limit");
    assert_eq!(letter["evidence"]["error"], "guest was refused more than 100 publishes");
    assert_eq!(after.more_denied(A11_FLOOD.name), 101 - TOLD);
    let bytes: usize = after.log.iter().map(|event| event.to_string().len()).sum();
    assert!(bytes < 64 << 10, "{bytes} bytes of log");
}

/// How long each takes the host is counted by the tests of the sandbox.
#[test]
fn a21_lists_texts_and_bytes_over_a_limit_are_refused_by_name_or_left_out_of_the_log() {
    let arena = CALLS.iter().fold(Arena::new(), |arena, (mode, _)| {
        let settings = format!("config = {{ mode = {mode:?} }}\n{TIME}");
        arena.attacker_at(mode, A21_CALLS, &settings, vec![json!({ "body": "attack" })])
    });
    let after = arena.fight();
    let mut wrong = Vec::new();
    for (mode, expected) in CALLS {
        let letters = after.letters(mode);
        let evidence = &letters[0]["evidence"];
        let told = format!("{}: {}", evidence["reason"].as_str().unwrap(), evidence["error"].as_str().unwrap());
        if !told.contains(expected) {
            wrong.push(format!("{mode}: {told}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for mode in ["log", "lines"] {
        let logged = after.logged(mode);
        assert!(logged.iter().any(|text| text.ends_with("log lines over the limit were dropped")), "{mode}");
    }
}

/// How many different refusals of a delivery are told.
const TOLD: usize = 8;

/// The calls that are tried, and their results.
const CALLS: &[(&str, &str)] = &[
    ("values", "rejected: PublishError::InvalidAttribute(\"number of values over the limit of 1024\")"),
    ("names", "rejected: PublishError::InvalidAttribute(\"number of attributes over the limit of 1024\")"),
    ("fuel", "result-too-large: guest passed more to the host than it takes"),
    ("writer", "rejected: Some((1024, PublishError::InvalidAttribute(\"number of values over the limit of 1024\")))"),
    ("long-value", "rejected: PublishError::InvalidAttribute(\"attribute value over the limit of 4KiB\")"),
    ("long-name", "rejected: PublishError::InvalidAttribute(\"attribute name over the limit of 256B\")"),
    ("key", "rejected: PublishError::InvalidAttribute(\"ordering key "),
    ("tab", "rejected: PublishError::InvalidAttribute(\"ordering key "),
    ("topic", "rejected: told in short"),
    ("delay", "rejected: Some(PublishError::LimitExceeded(\"delay is over the limit of ten years\"))"),
    ("poll", "trap: list to poll is over the limit of 1024 handles"),
    ("config", "rejected: None"),
    ("log", "rejected: logged"),
    ("lines", "rejected: Ok(())"),
];
