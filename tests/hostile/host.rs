//! Guests and messages that attack the host itself, or the state that it keeps between messages.

use serde_json::{Value, json};
use wasmpost_msg::decorator::lz4::{Lz4Receiver, Lz4Topic};
use wasmpost_msg::{Context, Message, Reason, Receiver, Topic};
use wasmpost_sandbox::{EngineOptions, ReceiverOptions, Sandbox, WasmReceiver};
use wasmpost_tests::guest;

use crate::arena::Arena;
use crate::guests::*;

/// How often a message may take the process down.
const CRASHES: usize = 3;

fn bodies(count: usize) -> Vec<Value> {
    (0..count).map(|number| json!({ "body": format!("{number}") })).collect()
}

#[test]
fn a17_a_body_that_is_too_large_is_a_dead_letter_and_the_guest_is_not_called() {
    let messages = [1025, 1024].map(|bytes| json!({ "body": "x".repeat(bytes) })).to_vec();
    let after = Arena::new().attacker_at("large", A17_CALLED, "limits = { body = \"1KiB\" }", messages).fight();
    let letters = after.letters("large");
    let evidence = &letters[0]["evidence"];
    assert_eq!((letters.len(), &evidence["reason"]), (1, &"body-too-large".into()));
    assert_eq!((&letters[0]["deliveries"], &evidence["memory_peak_bytes"]), (&1.into(), &0.into()), "{evidence}");
    assert_eq!(after.seen(), ["called with 1024 bytes"]);
}

/// Compresses a body twice, as a publisher can whose receiver decompresses what it gets.
async fn compressed_twice(body: Vec<u8>) -> Message {
    let context = Context::default();
    let mut writer = Lz4Topic(Lz4Topic(context.topic("orders"))).new_writer();
    writer.write(body.into()).await.unwrap();
    writer.close().await.unwrap();
    let published = context.outbox().take().remove(0);
    Message::new(published.attributes, published.body)
}

#[tokio::test]
async fn a17_a_small_body_that_decompresses_to_a_large_one_is_rejected_and_the_guest_is_not_called() {
    let sandbox = Sandbox::new(EngineOptions { pool_instances: 1, ..EngineOptions::default() }).unwrap();
    let loaded = sandbox.load_file(&guest(A17_CALLED.name)).unwrap();
    let mut options = ReceiverOptions::default();
    options.grants.publish.push("seen".parse().unwrap());
    let body_max = options.limits.body.bytes();
    let wasm = WasmReceiver::new(sandbox, loaded, options).unwrap();
    let receiver = Lz4Receiver::new(Lz4Receiver::new(wasm, body_max), body_max);
    let refused = Some((Reason::BodyTooLarge, format!("body of encoding lz4 is larger than {body_max} bytes")));
    for (bytes, expected) in [(body_max, None), (body_max + 1, refused.clone()), (64 << 20, refused)] {
        let message = compressed_twice(vec![0; bytes]).await;
        let context = message.context.clone();
        let error = receiver.receive(message).await.err().map(|error| (error.reason(), error.text().to_owned()));
        assert_eq!((context.outbox().len(), &error), (usize::from(expected.is_none()), &expected), "{bytes} bytes");
    }
}

#[test]
fn a18_a_message_that_takes_the_process_down_is_a_dead_letter_after_three_times_and_others_pass() {
    // Nothing ends the guest but the end of the process.
    let settings = "limits = { cpu = \"1h\", wall = \"1h\" }\nretry = { attempts = 8 }";
    let arena = Arena::new().attacker_at("poison", A18_NEVER_ENDS, settings, bodies(1));
    arena.configure();
    for round in 1..=CRASHES {
        arena.publish_neighbours(10);
        let host = arena.start();
        host.wait_until_leased("poison");
        host.wait_until_neighbours_are_acked(10 * round);
        host.kill();
    }
    let after = arena.left();
    after.neighbours_were_served(10 * CRASHES);
    let letters = after.letters("poison");
    let letter = &letters[0];
    let reasons = letters[0]["attempts"].as_array().unwrap();
    assert_eq!(
        (letters.len(), &letter["evidence"]["reason"], &letter["deliveries"]),
        (1, &"crash".into(), &CRASHES.into())
    );
    assert!(reasons.iter().all(|attempt| attempt["reason"] == "crash"), "{reasons:?}");
}

#[test]
fn a19_nothing_of_a_message_is_left_for_the_next() {
    let after = Arena::new().attacker_at(A19_CANARIES.name, A19_CANARIES, "", bodies(200)).fight();
    after.survived(A19_CANARIES, 200);
}

#[test]
fn a20_neighbours_do_not_wait_for_guests_that_sleep_in_every_slot() {
    // Two rounds of them for the sixteen slots of their tenant; each could have slept longer.
    let settings = "config = { nanoseconds = \"2000000000\" }\nlimits = { wall = \"10s\" }";
    let after = Arena::new().attacker_at(A20_SLEEP.name, A20_SLEEP, settings, bodies(32)).fight();
    after.survived(A20_SLEEP, 32);
    let second_round = after.acked_at(A20_SLEEP.name)[16];
    assert!(after.neighbours_acked_at().last() < Some(&second_round), "the neighbour waited for sleepers");
}

#[test]
fn a20_neighbours_do_not_wait_for_a_flood_of_tiny_messages() {
    const FLOOD: usize = 20_000;
    let after = Arena::new().attacker_at(A20_FLOOD.name, A20_FLOOD, "", bodies(FLOOD)).fight();
    after.survived(A20_FLOOD, FLOOD);
    let acked = after.acked_at(A20_FLOOD.name);
    assert!(after.neighbours_acked_at().last() < acked.get(FLOOD / 2), "the neighbour waited for the flood");
}

#[test]
fn a20_a_message_asked_for_again_at_once_or_in_a_hundred_years_comes_within_bounds() {
    let arena = [("at-once", "0"), ("in-a-century", "3155760000000000000")].into_iter().fold(
        Arena::new(),
        |arena, (name, nanoseconds)| {
            let settings = format!(
                "config = {{ nanoseconds = {nanoseconds:?} }}\nretry = {{ attempts = 2, retry_after_max = \"300ms\" }}"
            );
            arena.attacker_at(name, A20_LATER, &settings, bodies(1))
        },
    );
    let after = arena.fight();
    for (name, microseconds) in [("at-once", 100_000), ("in-a-century", 300_000)] {
        let letters = after.letters(name);
        assert_eq!((letters.len(), &letters[0]["evidence"]["reason"]), (1, &"attempts".into()), "{name}");
        assert_eq!(letters[0]["attempts"][0]["delay_us"], microseconds, "{name}");
    }
}
