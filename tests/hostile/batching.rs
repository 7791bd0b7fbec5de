//! Guests that get several messages in a call, and break off with all of them.

use serde_json::{Value, json};
use wasmpost_tests::guest;

use crate::arena::Arena;

/// How many messages each attacker gets.
const MESSAGES: usize = 8;
/// The wishes of one message, and the reason for which it dies.
const POISON: &[(&str, &str)] = &[
    ("trap", "trap"),
    ("loop", "cpu-limit"),
    ("shorten", "result-count"),
    ("lengthen", "result-count"),
    ("flood", "result-too-large"),
];

fn asking(wish: &str) -> Value {
    json!({ "body": wish, "attributes": { "Do": [wish] } })
}

#[test]
fn a22_a_message_that_ends_the_call_for_all_dies_alone() {
    let settings = "batch_wait = \"1s\"\nlimits = { cpu = \"300ms\" }";
    let arena = POISON.iter().fold(Arena::new(), |arena, (wish, _)| {
        let messages = (0..MESSAGES).map(|number| asking(if number == 5 { wish } else { "" })).collect();
        arena.attacker_file(wish, &guest("batching"), settings, messages)
    });
    let after = arena.fight();
    for (wish, reason) in POISON {
        let letters = after.letters(wish);
        let [letter] = &letters[..] else { panic!("{wish}: {letters:?}") };
        assert_eq!((&letter["evidence"]["reason"], &letter["deliveries"]), (&json!(reason), &json!(1)), "{wish}");
        assert_eq!(after.stats(wish)["acked"], MESSAGES - 1, "{wish}");
    }
    let published = after.stats("out");
    assert_eq!(published["ready"], POISON.len() * (MESSAGES - 1), "nothing of a call that failed: {published}");
}

#[test]
fn a22_memory_that_only_a_batch_uses_up_and_messages_of_another_call_kill_nobody() {
    let hoard = (0..MESSAGES).map(|_| asking("hoard")).collect();
    let used = (0..MESSAGES).map(|_| asking("use")).collect();
    let after = Arena::new()
        .attacker_file("hoard", &guest("batching"), "batch_wait = \"1s\"", hoard)
        .attacker_file("use", &guest("keeping"), "batch = 2\nreuse = 1000", used)
        .fight();
    for name in ["hoard", "use"] {
        let stats = after.stats(name);
        assert_eq!(
            (&stats["acked"], &stats["dead"]),
            (&json!(MESSAGES), &json!(0)),
            "{name}: {:?}",
            after.letters(name)
        );
    }
    assert_eq!(after.stats("out"), Value::Null, "nothing was published through a message of another call");
}
