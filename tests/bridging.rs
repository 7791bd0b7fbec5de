//! From one broker to another: receivers that publish elsewhere, and messages that are moved without a component.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A fault fails the test.

use std::process::Stdio;

use wasmpost::identity::FileIdentity;
use wasmpost_tests::{Place, guest, signal, stats, wait_until, wait_until_acked};

/// The statistics of a queue in another file than the default one.
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
    assert_eq!((&letters[3]["body_bytes"], &letters[3]["hops"]), (&1.into(), &1.into()));
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

/// A file by ways that all lead to it, and two names of it in a configuration.
fn spellings(place: &Place) -> Vec<String> {
    let file = place.path().join("wasmpost.db");
    let at = |name: &str| place.path().join(name);
    if !file.exists() {
        place.run_with(&["publish", "first", "-"], "hello").exits(0);
    }
    std::os::unix::fs::symlink("wasmpost.db", at("link.db")).unwrap();
    place.write("wasmpost.toml", "[brokers]\ndefault = \"sqlite:wasmpost.db\"\nother = \"sqlite:./wasmpost.db\"\n");
    let urls = ["sqlite:wasmpost.db", "sqlite:./wasmpost.db", "sqlite:link.db"].map(str::to_owned);
    urls.into_iter().chain([format!("sqlite:{}", file.display()), "other".to_owned(), "default".to_owned()]).collect()
}

#[test]
fn messages_are_moved_within_one_file_however_it_is_spelled() {
    let place = Place::default();
    for (number, spelling) in spellings(&place).into_iter().enumerate() {
        let from = format!("in{number}");
        let to = format!("out{number}");
        place.run_with(&["publish", &from, "-", "--id", "a"], "hello").exits(0);
        let moved = place.run(&["pipe", &from, &format!("{spelling}#{to}"), "--until-empty"]).exits(0).stdout();
        assert_eq!(moved, "moved 1 message\n", "{spelling}");
        assert_eq!(
            (&stats(&place, &from)["acked"], &stats(&place, &to)["ready"]),
            (&1.into(), &1.into()),
            "{spelling}"
        );
    }
}

#[test]
fn a_place_piped_into_itself_is_refused_however_it_is_spelled() {
    let place = Place::default();
    place.run_with(&["publish", "orders", "-"], "hello").exits(0);
    for spelling in spellings(&place) {
        place.run(&["pipe", "orders", &format!("{spelling}#orders")]).fails(2, &["one place"]);
        place.run(&["pipe", &format!("{spelling}#orders"), "sqlite:link.db#orders"]).fails(2, &["one place"]);
    }
    // A queue that takes from the topic that it is piped to gets everything back.
    place.run(&["pipe", "orders", "sqlite:link.db#feed", "--topic", "feed"]).fails(2, &["circles"]);
    // A file of two names is refused anyhow, but for what is wrong with the command.
    std::fs::hard_link(place.path().join("wasmpost.db"), place.path().join("hard.db")).unwrap();
    place.run(&["pipe", "orders", "sqlite:hard.db#orders"]).fails(2, &["one place"]);
    std::fs::remove_file(place.path().join("hard.db")).unwrap();
    assert_eq!(stats(&place, "orders")["ready"], 1, "nothing was moved");
}

#[test]
fn a_message_that_is_moved_within_a_file_is_not_taken_for_another_one_of_its_id() {
    let place = Place::default();
    for queue in ["in", "out"] {
        place.run_with(&["publish", queue, "-", "--id", "a"], "hello").exits(0);
    }
    // It leaves one queue and comes into the other in one transaction, so that there is nothing to deduplicate.
    place.run(&["pipe", "in", "out", "--until-empty"]).exits(0);
    assert_eq!((&stats(&place, "in")["acked"], &stats(&place, "out")["ready"]), (&1.into(), &2.into()));
}

#[test]
fn a_host_moves_messages_within_its_file_for_a_command() {
    let place = Place::default();
    let noop = guest("noop");
    place.run_with(&["publish", "in", "-", "--id", "a"], "hello").exits(0);
    let mut host = place.start(&["run", "--queue", "other", "--component", noop.to_str().unwrap(), "--log", "debug"]);
    let moved = place.run(&["pipe", "in", "out", "--until-empty"]).exits(0).stdout();
    assert_eq!(moved, "moved 1 message\n");
    assert_eq!((&stats(&place, "in")["acked"], &stats(&place, "out")["ready"]), (&1.into(), &1.into()));
    // On to the receiver, and back to where it came from.
    place.run(&["pipe", "out", "other", "--until-empty"]).exits(0);
    assert_eq!(host.wait_for("acked")["id"], "a");
    place.run(&["pipe", "out", "sqlite:./wasmpost.db#out"]).fails(2, &["one place"]);
    place.run(&["pipe", "out", "feed", "--topic", "feed"]).fails(2, &["circles"]);
    place.run(&["pipe", "other", "out"]).fails(2, &["\"other\"", "receiver"]);
    host.signal("TERM");
    assert_eq!(host.end().0, Some(0));
}

#[test]
fn messages_are_moved_from_the_file_of_a_host_to_another_file_with_or_without_a_host() {
    let place = Place::default();
    let noop = guest("noop");
    let line = |number: u32| format!("{{\"id\":\"m{number}\",\"key\":\"k{number}\",\"body\":\"{number}\"}}\n");
    place.write("messages.ndjson", (0..100).map(line).collect::<String>());
    place.run(&["publish", "in", "--ndjson", "messages.ndjson"]).exits(0);
    let run =
        |file: &str| place.start(&["run", "--broker", file, "--queue", "o", "--component", noop.to_str().unwrap()]);
    let host = run("sqlite:wasmpost.db");
    let moved = place.run(&["pipe", "in", "sqlite:other.db#there", "--until-empty"]).exits(0).stdout();
    assert_eq!(moved, "moved 100 messages\n");
    assert_eq!(stats_of(&place, "sqlite:other.db", "there")["ready"], 100);
    let other = run("sqlite:other.db");
    place.run(&["pipe", "sqlite:other.db#there", "back", "--until-empty"]).exits(0);
    assert_eq!((&stats(&place, "in")["acked"], &stats(&place, "back")["ready"]), (&100.into(), &100.into()));
    for host in [host, other] {
        host.signal("TERM");
        assert_eq!(host.end().0, Some(0));
    }
}

#[test]
fn a_host_stops_moving_when_the_command_goes_away_and_keeps_what_was_not_moved() {
    let place = Place::default();
    let noop = guest("noop");
    let host = place.start(&["run", "--queue", "other", "--component", noop.to_str().unwrap()]);
    for (ending, count) in [("KILL", 1), ("TERM", 2)] {
        let mut pipe = place.command(&["pipe", "in", "sqlite:away.db#out"]).stdout(Stdio::null()).spawn().unwrap();
        place.run_with(&["publish", "in", "-"], "hello").exits(0);
        wait_until_acked(&place, "in", count);
        place.run(&["pipe", "in", "out"]).fails(2, &["\"in\"", "piped already"]);
        signal(&pipe, ending);
        let ended = pipe.wait().unwrap();
        assert_eq!(ended.code(), (ending == "TERM").then_some(0), "{ending}");
    }
    // Nobody takes from the queue any more, until another command does.
    place.run_with(&["publish", "in", "-"], "hello").exits(0);
    let pipe = ["pipe", "in", "out", "--until-empty"];
    wait_until("the queue is piped by no other", || place.run(&pipe).0.status.code() == Some(0));
    assert_eq!((&stats(&place, "in")["acked"], &stats(&place, "out")["ready"]), (&3.into(), &1.into()));
    host.signal("TERM");
    assert_eq!(host.end().0, Some(0));
}

#[test]
fn a_receiver_publishes_to_its_own_file_by_another_name() {
    let place = Place::default();
    let echo = guest("echo");
    place.run_with(&["publish", "orders", "-"], "hello").exits(0);
    for other in spellings(&place).into_iter().filter(|spelling| spelling.starts_with("sqlite:")) {
        let before = stats(&place, "out")["ready"].as_u64().unwrap_or(0);
        place.write(
            "wasmpost.toml",
            format!(
                "[brokers]\nother = \"{other}\"\n[[receivers]]\nqueue = \"orders\"\ncomponent = {echo:?}\n\
                 publish = [\"out\"]\npublish_broker = \"other\"\n"
            ),
        );
        place.run_with(&["publish", "orders", "-"], "hello").exits(0);
        place.run(&["run", "--until-empty"]).exits(0);
        assert!(stats(&place, "out")["ready"].as_u64().unwrap() > before, "{other}");
    }
}

#[test]
fn its_own_file_by_another_name_is_no_other_broker_to_a_receiver() {
    let place = Place::default();
    let echo = guest("echo");
    let text = format!(
        "[brokers]\nother = \"sqlite:./wasmpost.db\"\n[tenants.acme]\ntopics_max = 1\n[[receivers]]\nqueue = \"orders\"\n\
         tenant = \"acme\"\ncomponent = {echo:?}\npublish = [\"out\"]\npublish_broker = \"other\"\n\
         retry = {{ attempts = 1 }}\n"
    );
    place.write("wasmpost.toml", text);
    let mut host = place.start(&["run"]);
    place.run_with(&["publish", "@acme/elsewhere", "-"], "the one topic that it may have").exits(0);
    place.run_with(&["publish", "@acme/orders", "-"], "hello").exits(0);
    // There is no room for what it publishes: its own broker says so with the acknowledgement, and no other one.
    let error = host.wait_for("dead-lettered")["error"].as_str().unwrap().to_owned();
    assert!(error.contains("published messages have no room") && !error.contains("other broker"), "{error}");
}

#[test]
fn two_names_of_one_broker_do_not_make_two_queues() {
    let place = Place::default();
    let echo = guest("echo");
    let receiver = |broker: &str| {
        format!("[[receivers]]\nname = \"{broker}\"\nqueue = \"orders\"\nbroker = \"{broker}\"\ncomponent = {echo:?}\n")
    };
    let brokers = "[brokers]\na = \"sqlite:a.db\"\nb = \"sqlite:./a.db\"\n";
    place.write("wasmpost.toml", format!("{brokers}{}{}", receiver("a"), receiver("b")));
    for verb in ["check", "run"] {
        place.run(&[verb]).fails(2, &["wasmpost.toml:11:", "\"orders\"", "one receiver"]);
    }
}

#[test]
fn a_socket_tells_of_the_receivers_of_its_own_file() {
    let place = Place::default();
    let noop = guest("noop");
    let receiver = |broker: &str| {
        format!(
            "[[receivers]]\nname = \"of {broker}\"\nqueue = \"orders\"\nbroker = \"{broker}\"\ncomponent = {noop:?}\n"
        )
    };
    let brokers = "[brokers]\na = \"sqlite:a.db\"\nb = \"sqlite:b.db\"\n";
    place.write("wasmpost.toml", format!("{brokers}{}{}", receiver("a"), receiver("b")));
    let host = place.start(&["run"]);
    for broker in ["a", "b"] {
        assert_eq!(stats_of(&place, broker, "orders")["receiver"]["receiver"], format!("of {broker}"));
    }
    host.signal("TERM");
    assert_eq!(host.end().0, Some(0));
}

#[test]
fn a_queue_file_is_the_same_by_every_way_to_it() {
    let place = Place::default();
    let at = |name: &str| FileIdentity::of(&place.path().join(name));
    std::fs::create_dir(place.path().join("data")).unwrap();
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, place.path().join(name)).unwrap();
    link("data/q.db", "q.db");
    link("q.db", "twice.db");
    link("data", "other");
    link("loop", "loop");
    // Before it is there, and once it is.
    for name in ["q.db", "twice.db", "other/q.db", "data/./q.db"] {
        assert_eq!(at(name), at("data/q.db"), "{name}");
    }
    assert_ne!(at("data/p.db"), at("data/q.db"));
    assert_ne!(at("loop"), at("data/q.db"));
    place.write("data/q.db", "");
    std::fs::hard_link(place.path().join("data/q.db"), place.path().join("hard.db")).unwrap();
    for name in ["q.db", "twice.db", "other/q.db", "data/./q.db", "hard.db"] {
        assert_eq!(at(name), at("data/q.db"), "{name}");
    }
    place.write("p.db", "");
    assert_ne!(at("p.db"), at("data/q.db"));
}
