//! The log of a host: lines that parse, with each key once, and that hold up nobody.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A fault fails the test.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::process::Stdio;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Value, json};
use wasmpost_tests::{Place, guest, signal, stats, wait_until};

/// How much a pipe holds on Linux, unless somebody asks for more.
const PIPE_BYTES: usize = 64 << 10;
/// How long a slow reader rests after each page: it is done long before a host that ends stops waiting.
const PAGE_PAUSE: Duration = Duration::from_millis(8);

/// The keys of an object of JSON, each once.
struct Keys(HashSet<String>);

impl<'a> Deserialize<'a> for Keys {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Keys(HashSet::new()))
    }
}

impl<'a> Visitor<'a> for Keys {
    type Value = Self;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
            if !self.0.insert(key.clone()) {
                return Err(serde::de::Error::custom(format!("{key} is there twice")));
            }
        }
        Ok(self)
    }
}

/// A directory with a receiver for each guest, on a queue of its name.
fn place(guests: &[&str]) -> Place {
    let place = Place::default();
    let receivers = guests.iter().map(|name| {
        let component = guest(name);
        format!("[[receivers]]\nqueue = {name:?}\ncomponent = {component:?}\nretry = {{ attempts = 2, backoff_first = \"1ms\" }}\n")
    });
    place.write("wasmpost.toml", receivers.collect::<String>());
    place
}

fn publish(place: &Place, queue: &str, messages: usize) {
    let lines: Vec<String> =
        (0..messages).map(|number| json!({ "id": format!("{queue} {number}"), "body": "x" }).to_string()).collect();
    place.run_with(&["publish", queue, "--ndjson", "-"], &lines.join("\n")).exits(0);
}

#[test]
fn lines_of_a_mixed_run_parse_have_each_key_once_and_sums_account_for_all() {
    let guests = ["echo", "failing", "logging", "rejecting", "trapping"];
    let place = place(&guests);
    for name in guests {
        let messages = match name {
            "rejecting" => 1000,
            // It would be slowed for faults on more.
            "trapping" => 2,
            _ => 5,
        };
        publish(&place, name, messages);
    }
    let run =
        |level: &str| place.run(&["run", "--until-empty", "--log", level, "--log-format", "json"]).exits(0).stderr();
    let log = run("info");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |receiver: &str, text: &str| {
        let about = |line: &&Value| line["receiver"] == receiver && line["message"].as_str().unwrap().contains(text);
        let lines: Vec<_> = lines.iter().filter(about).collect();
        let more: u64 = lines.iter().filter_map(|line| line["more"].as_u64()).sum();
        lines.iter().filter(|line| line["more"].is_null()).count() as u64 + more
    };
    assert_eq!(of("rejecting", "dead-lettered"), 1000);
    assert_eq!((of("failing", "failed; will be redelivered"), of("failing", "dead-lettered")), (5, 5));
    publish(&place, "echo", 1);
    let log = log + &run("trace");
    for line in log.lines() {
        let keys: Keys = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(["timestamp", "level", "message", "target"].iter().all(|key| keys.0.contains(*key)), "{line}");
    }
    let escaped = lines.iter().find(|line| line["context"] == "escape").unwrap();
    assert_eq!(escaped["message"], "red \u{1b}[31m and a\nsecond line", "a parser gives the text as it was");
    let failed = lines.iter().find(|line| line["receiver"] == "failing" && line["error"].is_string()).unwrap();
    assert!(failed["error"].as_str().unwrap().starts_with("attempt "), "{failed}");
}

#[test]
fn an_unread_log_holds_up_neither_deliveries_nor_signals() {
    let place = place(&["failing", "noop"]);
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&vec![b'\n'; PIPE_BYTES]).unwrap();
    let mut command = place.command(&["run", "--log-format", "json"]);
    let mut host = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer).spawn().unwrap();
    // It has the writing end of the pipe as well.
    drop(command);
    let socket = place.path().join("wasmpost.db.sock");
    wait_until("it listens", || socket.exists());
    publish(&place, "failing", 500);
    publish(&place, "noop", 5);
    wait_until("all are done", || stats(&place, "failing")["dead"] == 500 && stats(&place, "noop")["acked"] == 5);
    signal(&host, "TERM");
    wait_until("it ends", || host.try_wait().unwrap().is_some());
    assert_eq!(host.wait().unwrap().code(), Some(0));
    // Nothing of the log fitted; the pipe is as full as it was.
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len(), PIPE_BYTES);
}

/// Runs a host until its queues are empty, with a pipe that is full when it starts and slowly read once it serves, and
/// gives its log.
fn read_slowly(place: &Place, arguments: &[&str]) -> String {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&vec![b'\n'; PIPE_BYTES]).unwrap();
    let mut command = place.command(&[&["run", "--until-empty"], arguments].concat());
    let mut host = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer).spawn().unwrap();
    drop(command);
    let socket = place.path().join("wasmpost.db.sock");
    wait_until("it serves or has ended", || socket.exists() || host.try_wait().unwrap().is_some());
    let mut log = Vec::new();
    let mut page = [0; 4096];
    while let Ok(read @ 1..) = reader.read(&mut page) {
        log.extend_from_slice(&page[..read]);
        std::thread::sleep(PAGE_PAUSE);
    }
    assert_eq!(host.wait().unwrap().code(), Some(0));
    String::from_utf8(log.split_off(PIPE_BYTES)).unwrap()
}

#[test]
fn the_last_lines_of_a_host_are_written() {
    let place = place(&["rejecting"]);
    publish(&place, "rejecting", 200);
    let log = place.run(&["run", "--until-empty", "--log-format", "human"]).exits(0).stderr();
    let written = log.matches("dead-lettered queue=rejecting receiver=rejecting id=\"rejecting ").count();
    // Lines beyond the budget of the receiver are counted, and their number is told when the host ends.
    let counts = log.lines().filter_map(|line| line.split_once(": dead-lettered more=")?.1.split(' ').next());
    let counted: usize = counts.map(|count| count.parse::<usize>().unwrap()).sum();
    assert!(counted > 0, "{log}");
    assert_eq!((written + counted, log.matches("error=\"not for me\"").count()), (200, written), "{log}");
}

#[test]
fn a_host_waits_at_its_end_for_a_reader_that_is_slow() {
    let place = place(&["rejecting"]);
    publish(&place, "rejecting", 100);
    let log = read_slowly(&place, &["--log", "trace", "--log-format", "human"]);
    assert_eq!(log.matches("dead-lettered queue=rejecting").count(), 100, "{log}");
    assert!(log.ends_with('\n'));
}
