//! Asynchronous components from outside: loaded as all others are, several messages in one instance, refused where guests
//! are hostile.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

use wasmpost_tests::{Place, guest, wait_until_acked};

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

#[test]
fn messages_meet_in_one_instance_and_what_each_published_arrives() {
    let place = Place::default();
    config(&place, "", 3);
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
fn a_host_for_hostile_guests_refuses_the_component_by_name_with_what_to_do() {
    let place = Place::default();
    config(&place, "hostile = true", 1);
    for command in ["check", "run"] {
        place.run(&[command]).fails(2, &["together.wasm", "component is asynchronous", "hostile = true"]);
    }
}

#[test]
fn the_switch_that_asynchronous_components_once_needed_is_told_as_obsolete() {
    let place = Place::default();
    config(&place, "[engine]\ncomponent_model_async = false", 1);
    let checked = place.run(&["check"]).exits(0);
    assert!(
        checked.stderr().contains("warning: component_model_async under [engine] is obsolete"),
        "{}",
        checked.stderr()
    );
    let log = place.run(&["run", "--until-empty"]).exits(0).stderr();
    assert_eq!(log.matches("component_model_async under [engine] is obsolete").count(), 1, "{log}");
}

#[test]
fn components_of_other_worlds_take_one_message_at_a_time() {
    let place = Place::default();
    let text = format!("[[receivers]]\nqueue = \"q\"\ncomponent = \"{}\"\nconcurrent = 2\n", guest("noop").display());
    place.write("wasmpost.toml", text);
    place.run(&["check"]).fails(2, &["one message at a time", "concurrent = 2", "plugin-async"]);
}
