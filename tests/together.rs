//! Asynchronous components from outside: switched on for the host, several messages in one instance, refused when off.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

use std::time::Instant;

use wasmpost_tests::{PATIENCE, Place, guest, stats};

/// A configuration whose queue `meetings` has an asynchronous component. There is one instance in all.
fn config(place: &Place, engine: &str, concurrent: u32) {
    let component = |name: &str| guest(name).display().to_string();
    let text = format!(
        r#"
        [host]
        instances = 1

        {engine}

        [[receivers]]
        queue = "meetings"
        component = "{}"
        publish = ["out"]
        concurrent = {concurrent}

        [[receivers]]
        queue = "out"
        component = "{}"
        "#,
        component("together"),
        component("noop"),
    );
    place.write("wasmpost.toml", text);
}

fn wait_until_acked(place: &Place, queue: &str, count: u64) {
    let began = Instant::now();
    while stats(place, queue)["acked"] != count {
        assert!(began.elapsed() < PATIENCE, "{}", stats(place, queue));
    }
}

#[test]
fn messages_meet_in_one_instance_and_what_each_published_arrives() {
    let place = Place::default();
    config(&place, "[engine]\ncomponent_model_async = true", 3);
    place.run(&["check"]).exits(0);
    // Each waits until three are at work in its instance.
    place.run_with(&["publish", "meetings", "--ndjson", "-"], &"{\"body\":\"meet 3\"}\n".repeat(3)).exits(0);
    let host = place.start(&["run"]);
    wait_until_acked(&place, "meetings", 3);
    wait_until_acked(&place, "out", 3);
    host.signal("TERM");
    assert_eq!(host.end().0, Some(0));
}

#[test]
fn a_host_that_was_not_told_refuses_the_component_by_name_with_what_to_do() {
    let place = Place::default();
    for engine in ["", "[engine]\ncomponent_model_async = false"] {
        config(&place, engine, 1);
        for command in ["check", "run"] {
            place.run(&[command]).fails(2, &["together.wasm", "needs component_model_async", "[engine]"]);
        }
    }
}

#[test]
fn hostile_hosts_and_components_of_other_worlds_are_refused_the_setting() {
    let place = Place::default();
    let hostile = "hostile = true\n[engine]\ncomponent_model_async = true";
    config(&place, hostile, 1);
    place.run(&["check"]).fails(2, &["component_model_async", "hostile"]);
    let text = format!("[[receivers]]\nqueue = \"q\"\ncomponent = \"{}\"\nconcurrent = 2\n", guest("noop").display());
    place.write("wasmpost.toml", text);
    place.run(&["check"]).fails(2, &["one message at a time", "concurrent = 2", "plugin-async"]);
}
