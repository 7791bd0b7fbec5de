//! A host that is killed in the middle of its work, again and again: every message is accounted for at the end.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A fault fails the test.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;

use rusqlite::Connection;
use wasmpost_tests::{Place, guest, wait_until_in_flight};

const KILLS: usize = 20;
const MESSAGES_PER_ROUND: usize = 60;

/// Published messages by id, and whether each was confirmed.
type Published = BTreeMap<String, bool>;

fn place() -> Place {
    let place = Place::default();
    let component = guest("echo");
    let config = format!(
        "[[receivers]]\nqueue = \"work\"\ncomponent = {component:?}\npublish = [\"out\"]\nconcurrency = 8\n\
         retry = {{ backoff_first = \"10ms\" }}\nconfig = {{ spins = \"3000000\" }}\n"
    );
    place.write("wasmpost.toml", config);
    place
}

/// Publishes a round of messages, every third with an ordering key. Their bodies are their ids.
fn publish_round(place: &Place, round: usize, published: &mut Published) {
    let mut lines = String::new();
    for number in 0..MESSAGES_PER_ROUND {
        let id = format!("round {round} message {number}");
        let key = if number % 3 == 0 { format!(",\"key\":\"key {}\"", number % 2) } else { String::new() };
        lines += &format!("{{\"id\":\"{id}\",\"body\":\"{id}\"{key}}}\n");
        published.insert(id, true);
    }
    place.run_with(&["publish", "work", "--ndjson", "-"], &lines).exits(0);
}

/// Publishes one message while the host is being killed: it may be confirmed or not.
fn publish_during_the_kill(place: &Place, round: usize, kill: impl FnOnce(), published: &mut Published) {
    let id = format!("round {round} while killed");
    let mut publishing = place.command(&["publish", "work", "--id", &id, "-"]);
    let publishing = publishing.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut publishing = publishing.spawn().unwrap();
    publishing.stdin.take().unwrap().write_all(id.as_bytes()).unwrap();
    kill();
    let confirmed = publishing.wait().unwrap().success();
    published.insert(id, confirmed);
}

fn rows(connection: &Connection, sql: &str) -> Vec<String> {
    let mut find = connection.prepare(sql).unwrap();
    let rows = find.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Every confirmed message had its effect exactly once, or is a dead letter; no other message is there.
fn check(place: &Place, published: &Published) -> usize {
    let connection = Connection::open(place.path().join("wasmpost.db")).unwrap();
    let out = rows(
        &connection,
        "SELECT CAST(body AS TEXT) FROM state JOIN queues ON queues.id = state.queue \
         JOIN messages ON messages.number = state.message WHERE queues.name = 'out'",
    );
    let dead = rows(&connection, "SELECT id FROM dead WHERE queue = 'work' AND reason = 'crash'");
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    for id in out.iter().chain(&dead) {
        assert!(published.contains_key(id), "{id:?} was never published");
        *ends.entry(id).or_default() += 1;
    }
    for (id, confirmed) in published {
        let times = ends.get(id.as_str()).copied().unwrap_or(0);
        assert!(times <= 1, "{id:?} ended {times} times");
        assert!(times == 1 || !confirmed, "{id:?} was confirmed and is lost");
    }
    let left = rows(
        &connection,
        "SELECT name FROM state JOIN queues ON queues.id = state.queue WHERE name <> 'out' \
         UNION ALL SELECT 'message of no queue' FROM messages WHERE number NOT IN (SELECT message FROM state) \
         AND number NOT IN (SELECT message FROM dead)",
    );
    assert!(left.is_empty(), "nothing else is left over: {left:?}");
    dead.len()
}

#[test]
fn no_message_is_lost_or_forwarded_twice_by_a_host_that_is_killed_twenty_times() {
    let seed =
        std::env::var("WASMPOST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    let mut random = fastrand::Rng::with_seed(seed);
    eprintln!("WASMPOST_SEED={seed}");
    let place = place();
    let mut published = Published::new();
    let mut interrupted = 0;
    for round in 0..KILLS {
        let before = random.bool();
        if before {
            publish_round(&place, round, &mut published);
        }
        let mut host = place.start(&["run", "--log", "info,wasmpost_delivery=debug"]);
        if !before {
            publish_round(&place, round, &mut published);
        }
        for _ in 0..random.usize(0..MESSAGES_PER_ROUND / 2) {
            host.wait_for("acked");
        }
        publish_during_the_kill(&place, round, || host.child.kill().unwrap(), &mut published);
        host.end();
        place.run(&["queues"]).exits(0);
        let connection = Connection::open(place.path().join("wasmpost.db")).unwrap();
        // Put back by whoever opened the file after the host that was killed.
        interrupted += rows(&connection, "SELECT 'in flight' FROM state WHERE status = 3").len();
    }
    assert!(interrupted >= KILLS / 2, "the host was killed while it worked: {interrupted} messages were in flight");
    place.run(&["run", "--until-empty", "--log", "error"]).exits(0);
    let crashed = check(&place, &published);
    assert!(crashed < published.len() / 10, "{crashed} of {} messages were taken for poison", published.len());
}

#[test]
fn a_message_that_takes_the_process_down_is_a_dead_letter_after_three_times_and_others_are_not() {
    let place = Place::default();
    let component = guest("looping");
    // Nothing ends the guest but the end of the process.
    let config = format!(
        "[[receivers]]\nqueue = \"work\"\ncomponent = {component:?}\nlimits = {{ cpu = \"1h\", wall = \"1h\" }}\n"
    );
    place.write("wasmpost.toml", config);
    place.run_with(&["publish", "work", "--id", "poison", "-"], "").exits(0);
    for _ in 0..3 {
        let mut host = place.start(&["run"]);
        wait_until_in_flight(&place, "work");
        host.child.kill().unwrap();
        host.end();
    }
    let letters = place.run(&["dead-letters", "list", "--json"]).exits(0).json();
    let letter = &letters[0];
    let evidence = &letters[0]["evidence"];
    assert_eq!(
        (&letter["id"], &evidence["reason"], &letter["deliveries"]),
        (&"poison".into(), &"crash".into(), &3.into())
    );
    let reasons: Vec<_> = letter["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["reason"]).collect();
    assert_eq!(reasons, ["crash"; 3]);
}
