//! Publishing from the outside: lines as they come, invalid lines, and duplicates.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A fault fails the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use wasmpost_tests::{PATIENCE, Place, guest, signal, stats};

/// A producer whose input stays open.
fn producer(place: &Place) -> Child {
    let mut command = place.command(&["publish", "orders", "--ndjson", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn write(producer: &mut Child, line: &str) {
    writeln!(producer.stdin.as_mut().unwrap(), "{line}").unwrap();
}

/// Looks at the queue until so many messages are ready. Each look is another command on the file.
fn wait_until_ready(place: &Place, count: u64) {
    let began = Instant::now();
    while !place.path().join("wasmpost.db").exists() || stats(place, "orders")["ready"] != count {
        assert!(began.elapsed() < PATIENCE, "{} of {count} messages came", stats(place, "orders")["ready"]);
        std::thread::yield_now();
    }
}

/// Ends the input and gives the exit code and what was told.
fn end(mut producer: Child) -> (Option<i32>, String) {
    drop(producer.stdin.take());
    let mut told = String::new();
    producer.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    (producer.wait().unwrap().code(), told)
}

#[test]
fn lines_are_published_as_they_come_and_the_file_is_free_in_between() {
    let place = Place::default();
    let mut producer = producer(&place);
    // Nothing is held before there is something to publish.
    place.run_with(&["publish", "orders", "-"], "another").exits(0);
    write(&mut producer, r#"{"id":"a","body":"x"}"#);
    wait_until_ready(&place, 2);
    place.run_with(&["publish", "orders", "-"], "another").exits(0);
    let noop = guest("noop");
    let host = place.start(&["run", "--queue", "others", "--component", noop.to_str().unwrap()]);
    write(&mut producer, r#"{"id":"b","body":"x"}"#);
    wait_until_ready(&place, 4);
    host.signal("TERM");
    assert_eq!(host.end().0, Some(0));
    write(&mut producer, r#"{"id":"c","body":"x"}"#);
    let (code, told) = end(producer);
    assert!(code == Some(0) && told.contains("published 3"), "{code:?} {told}");
    assert_eq!(stats(&place, "orders")["ready"], 5);
}

#[test]
fn a_producer_that_is_interrupted_tells_what_is_published() {
    let place = Place::default();
    let mut producer = producer(&place);
    write(&mut producer, r#"{"body":"x"}"#);
    write(&mut producer, r#"{"body":"y"}"#);
    wait_until_ready(&place, 2);
    signal(&producer, "INT");
    let mut told = String::new();
    BufReader::new(producer.stderr.take().unwrap()).read_line(&mut told).unwrap();
    assert_eq!(producer.wait().unwrap().code(), Some(1));
    assert!(told.contains("interrupted; the 2 before it are published"), "{told}");
}

#[test]
fn every_error_of_a_file_of_lines_tells_how_many_are_published() {
    let place = Place::default();
    let good = "{\"body\":\"x\"}\n".repeat(3);
    for (name, bad) in [("array", "[{},\"x\"]"), ("text", "x"), ("ttl", "{\"body\":\"\",\"ttl\":\"0s\"}")] {
        place.write(name, format!("{good}{bad}\n{good}"));
        place.run(&["publish", name, "--ndjson", name]).fails(2, &["line 4", "the 3 before it are published"]);
        assert_eq!(stats(&place, name)["ready"], 3);
    }
    let values = format!("{{\"attributes\":{{\"A\":[{}\"\"]}},\"body\":\"\"}}", "\"\",".repeat(2000));
    place.write("values", values);
    place.run(&["publish", "values", "--ndjson", "values"]).fails(2, &["2001 values", "the 0 before it"]);
    place.run(&["publish", "endless", "--ndjson", "/dev/zero", "--skip-invalid"]).fails(2, &["line 1 is longer"]);
}

#[test]
fn lines_of_editors_of_other_systems_are_read_or_named() {
    let place = Place::default();
    place.write("marked", "\u{feff}{\"body\":\"x\",\"delay\":\"1h\",\"ttl\":\"2h\"}\r\n{\"body\":\"y\"}");
    place.run(&["publish", "orders", "--ndjson", "marked"]).exits(0);
    assert_eq!((&stats(&place, "orders")["ready"], &stats(&place, "orders")["delayed"]), (&json!(1), &json!(1)));
    place.write("wide", b"\xff\xfe{\0}\0");
    place.run(&["publish", "orders", "--ndjson", "wide"]).fails(2, &["wide", "UTF-16", "the 0 before it"]);
}

#[test]
fn a_message_that_could_never_be_delivered_is_refused() {
    let place = Place::default();
    place.run(&["publish", "orders", "-", "--ttl", "0s"]).fails(2, &["time to live is 0"]);
    place.run(&["publish", "orders", "-", "--delay", "5s", "--ttl", "1s"]).fails(2, &["delay of 5s", "1s"]);
    place.run(&["publish", "orders", "-", "--delay", "1s", "--ttl", "1h"]).exits(0);
}

#[test]
fn a_duplicate_is_told_to_programs() {
    let place = Place::default();
    let publish = |more: &[&str]| place.run(&[&["publish", "orders", "-", "--id", "a", "--json"], more].concat());
    assert_eq!(publish(&[]).exits(0).json(), json!({ "id": "a", "duplicate": false }));
    assert_eq!(publish(&[]).exits(0).json(), json!({ "id": "a", "duplicate": true }));
    assert_eq!(publish(&["--fail-on-duplicate"]).exits(3).json(), json!({ "id": "a", "duplicate": true }));
    let lines = "{\"id\":\"a\",\"body\":\"\"}\n{\"id\":\"b\",\"body\":\"\"}\n";
    let arguments = ["publish", "orders", "--ndjson", "-", "--json", "--fail-on-duplicate"];
    let told = place.run_with(&arguments, lines).exits(3).json();
    assert_eq!(told, json!({ "published": 1, "duplicates": 1, "skipped": 0 }));
}

#[test]
fn errors_repeat_nothing_that_a_terminal_would_obey() {
    let place = Place::default();
    let line = format!("{{\"body\":\"x\",\"\\u001b[31m\\u061c{}\":1}}", "y".repeat(100_000));
    let told = place.run_with(&["publish", "orders", "--ndjson", "-"], &line).exits(2).stderr();
    assert!(told.contains("\\u{1b}[31m\\u{61c}") && told.len() < 5000, "{} bytes: {told:.200}", told.len());
}

#[test]
fn the_id_of_a_message_is_known_to_who_publishes_it() {
    let place = Place::default();
    let told: Value = place.run(&["publish", "orders", "-", "--json"]).exits(0).json();
    let again = ["publish", "orders", "-", "--id", told["id"].as_str().unwrap(), "--json"];
    assert_eq!(place.run(&again).exits(0).json()["duplicate"], true);
}
