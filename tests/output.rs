//! The output of commands: a result that cannot be written is a failure, and text from outside is shown as text.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A fault fails the test.

use std::fs::File;
use std::process::Stdio;

use wasmpost_tests::{Place, guest};

/// A queue with a message, a dead letter, and a configuration.
fn place() -> Place {
    let place = Place::default();
    place.run_with(&["publish", "orders", "--id", "dead", "-"], "x").exits(0);
    let rejecting = guest("rejecting");
    let rejecting = rejecting.to_str().unwrap();
    place.run(&["run", "--queue", "orders", "--component", rejecting, "--until-empty"]).exits(0);
    place.write("wasmpost.toml", format!("[[receivers]]\nqueue = \"orders\"\ncomponent = {rejecting:?}\n"));
    place.write("body", "x");
    place.write("lines.ndjson", "{\"id\":\"line\",\"body\":\"x\"}\n");
    place
}

/// Every verb that has a result, with its arguments.
fn calls() -> Vec<Vec<String>> {
    let noop = guest("noop");
    let noop = noop.to_str().unwrap();
    let calls: &[&[&str]] = &[
        &["--help"],
        &["--version"],
        &["publish", "--help"],
        &["new", "project", "--lang", "rust"],
        &["publish", "orders", "body"],
        &["publish", "orders", "body", "--json"],
        &["publish", "orders", "--ndjson", "lines.ndjson", "--json"],
        &["pipe", "orders", "other", "--until-empty"],
        &["invoke", noop],
        &["invoke", noop, "--json"],
        &["inspect", noop],
        &["inspect", noop, "--json"],
        &["check"],
        &["check", "--json"],
        &["queues"],
        &["queues", "--json"],
        &["dead-letters", "list"],
        &["dead-letters", "list", "--json"],
        &["dead-letters", "show", "dead"],
        &["dead-letters", "show", "dead", "--json"],
        &["dead-letters", "show", "dead", "--body"],
        &["dead-letters", "redrive", "--all"],
        &["dead-letters", "purge", "--all"],
        &["token"],
        &["token", "--json"],
        &["config-schema"],
        &["completions", "bash"],
    ];
    calls.iter().map(|call| call.iter().map(|word| (*word).to_owned()).collect()).collect()
}

#[test]
fn a_result_that_can_not_be_written_is_a_failure_of_every_verb() {
    let place = place();
    for call in calls() {
        let call: Vec<_> = call.iter().map(String::as_str).collect();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let ran = place.command(&call).stdin(Stdio::null()).stdout(full).output().unwrap();
        let told = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(1), "{call:?}: {told}");
        assert!(told.contains("output could not be written: No space left on device"), "{call:?}: {told}");
    }
}

#[test]
fn verbs_of_a_running_host_tell_as_well_that_their_result_could_not_be_written() {
    let place = place();
    let host = place.start(&["run", "--config", "wasmpost.toml"]);
    for call in [&["tenants"][..], &["tenants", "--json"], &["reload"], &["reload", "--json"], &["queues"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let ran = place.command(call).stdout(full).output().unwrap();
        let told = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.code() == Some(1) && told.contains("could not be written"), "{call:?}: {told}");
    }
    drop(host);
}

#[test]
fn every_verb_with_a_result_is_among_those_that_are_tried() {
    let calls = calls();
    let of_hosts = ["dev", "logs", "tenants", "reload", "run", "test"];
    let command = wasmpost::cli::command();
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(|verb| verb.get_name()) {
        assert!(of_hosts.contains(&verb) || calls.iter().any(|call| call[0] == verb), "{verb} is not tried");
    }
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let place = place();
    for call in calls().iter().filter(|call| call[0] != "new") {
        let call: Vec<_> = call.iter().map(String::as_str).collect();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = place.command(&call).stdin(Stdio::null()).stdout(writer).output().unwrap();
        let told = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(0), "{call:?}: {told}");
    }
}

/// A component whose names are meant for the terminal.
fn evil(place: &Place) -> String {
    let text = r#"(component
        (core module $m (import "\1b]0;PWNED\07a" "b\1b[31m" (func)))
        (core module $n (func (export "x\1b[31m")))
        (core instance $i (instantiate $n))
        (core instance (instantiate $m (with "\1b]0;PWNED\07a" (instance $i)))))"#;
    place.write("evil.wasm", wat::parse_str(text).unwrap()).to_str().unwrap().to_owned()
}

#[test]
fn text_from_outside_is_shown_and_not_obeyed() {
    let place = Place::default();
    let message = "{\"id\":\"dead\",\"attributes\":{\"A\":[\"\\u001b]0;PWNED\\u0007\\u202e\"]},\"body\":\"x\"}\n";
    place.run_with(&["publish", "letters", "--ndjson", "-"], message).exits(0);
    let rejecting = guest("rejecting");
    place.run(&["run", "--queue", "letters", "--component", rejecting.to_str().unwrap(), "--until-empty"]).exits(0);
    let evil = evil(&place);
    place.write("wasmpost.toml", format!("[[receivers]]\nqueue = \"orders\"\ncomponent = {evil:?}\n"));
    let field = format!("{{\"body\":\"y\",\"\\u001b]0;PWNED\\u0007\\u202e{}\":\"y\"}}\n", "n".repeat(3_000_000));
    place.write("field.ndjson", field);
    let calls: &[&[&str]] = &[
        &["dead-letters", "show", "dead"],
        &["dead-letters", "show", "dead", "--json"],
        &["inspect", &evil],
        &["inspect", &evil, "--json"],
        &["check"],
        &["run"],
        &["invoke", &evil],
        &["publish", "orders", "--ndjson", "field.ndjson"],
        &["publish", "orders", "--ndjson", "field.ndjson", "--skip-invalid"],
    ];
    for call in calls {
        let ran = place.command(call).stdin(Stdio::null()).output().unwrap();
        let told = [ran.stdout, ran.stderr].concat();
        let told = String::from_utf8(told).unwrap();
        assert!(
            !told.contains(|letter: char| letter.is_control() && letter != '\n' || letter == '\u{202e}'),
            "{call:?}: {told:?}"
        );
        assert!(!call.contains(&"dead") || told.contains("]0;PWNED"), "{call:?}: {told}");
        assert!(told.len() < 10_000, "{call:?}: {} bytes", told.len());
    }
}
