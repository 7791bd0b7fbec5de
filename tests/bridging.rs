//! From one broker to another: receivers that publish elsewhere, and messages that are moved without a component.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A fault fails the test.

use wasmpost_tests::{Place, guest, stats};

/// What lies in a queue of another file than the default one.
fn stats_of(place: &Place, broker: &str, queue: &str) -> serde_json::Value {
    let all = place.run(&["queues", "--json", "--broker", broker]).exits(0).json();
    let found = all.as_array().unwrap().iter().find(|stats| stats["queue"] == queue);
    found.cloned().unwrap_or_default()
}

#[test]
fn a_receiver_takes_from_one_broker_and_publishes_to_another() {
    let place = Place::default();
    let echo = guest("echo");
    place.write(
        "wasmpost.toml",
        format!(
            "[brokers]\nother = \"sqlite:other.db\"\n[[receivers]]\nqueue = \"orders\"\ncomponent = {echo:?}\n\
             publish = [\"out\"]\npublish_broker = \"other\"\n"
        ),
    );
    place.run_with(&["publish", "orders", "-", "--attribute", "Colour=blue"], "hello").exits(0);
    place.run(&["run", "--until-empty"]).exits(0);
    assert_eq!(stats(&place, "orders")["acked"], 1);
    assert!(stats(&place, "out").is_null(), "nothing was published at the source");
    assert_eq!(stats_of(&place, "other", "out")["ready"], 1);
}

#[test]
fn messages_are_moved_with_their_id_attributes_body_and_key() {
    let place = Place::default();
    let line = |number: u32| {
        format!("{{\"id\":\"m{number}\",\"key\":\"k\",\"attributes\":{{\"A\":[\"1\",\"å\"]}},\"body\":\"{number}\"}}\n")
    };
    place.write("messages.ndjson", (0..4).map(line).collect::<String>());
    place.run(&["publish", "orders", "--ndjson", "messages.ndjson"]).exits(0);
    let moved = place.run(&["pipe", "orders", "sqlite:other.db#inbox", "--until-empty"]).exits(0).stdout();
    assert_eq!(moved, "moved 4 messages\n");
    assert_eq!(stats(&place, "orders")["acked"], 4);
    // They come out in order, since they still have their key. After five in a row the breaker would pause.
    let rejecting = guest("rejecting");
    let run = ["run", "--broker", "sqlite:other.db", "--queue", "inbox", "--component", rejecting.to_str().unwrap()];
    place.run(&[&run[..], &["--until-empty"]].concat()).exits(0);
    let letters = place.run(&["dead-letters", "list", "--json", "--broker", "sqlite:other.db"]).exits(0).json();
    let letters = letters.as_array().unwrap();
    let ids: Vec<_> = letters.iter().map(|letter| letter["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, (0..4).map(|number| format!("m{number}")).collect::<Vec<_>>());
    assert_eq!(letters[3]["attributes"]["A"], serde_json::json!(["1", "å"]));
    assert_eq!((&letters[3]["body"], &letters[3]["hops"]), (&"3".into(), &1.into()));
}

#[test]
fn messages_are_moved_to_the_file_of_a_host_at_work_and_received_there() {
    let place = Place::default();
    let noop = guest("noop");
    let run = ["run", "--broker", "sqlite:other.db", "--queue", "inbox", "--component", noop.to_str().unwrap()];
    let mut host = place.start(&[&run[..], &["--log", "debug"]].concat());
    let id = place.run_with(&["publish", "orders", "-"], "hello").exits(0).stdout();
    place.run(&["pipe", "orders", "sqlite:other.db#inbox", "--until-empty"]).exits(0);
    assert_eq!(host.wait_for("acked")["id"], *id.trim());
    host.signal("TERM");
    assert_eq!(host.end().0, Some(0));
}

#[test]
fn a_pipe_that_makes_no_sense_is_refused_by_what_is_wrong() {
    let place = Place::default();
    place.run_with(&["publish", "orders", "-"], "hello").exits(0);
    place.run(&["pipe", "orders", "orders"]).fails(2, &["one place"]);
    place.run(&["pipe", "nowhere#orders", "out"]).fails(2, &["nowhere"]);
    place.run(&["pipe", "sqlite:gone.db#orders", "out"]).fails(2, &["gone.db"]);
    let wrong = place.run(&["pipe", "or ders", "out"]).exits(2).stderr();
    assert!(wrong.contains("or ders") && wrong.contains("BROKER#NAME"), "{wrong}");
    assert_eq!(stats(&place, "orders")["ready"], 1, "nothing was moved");
}
