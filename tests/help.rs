//! Every verb explains itself, with an example. The texts are kept beside this file: a change shows in a review.
#![allow(clippy::unwrap_used)] // A fault fails the test.

use wasmpost_tests::Place;

const VERBS: &[&[&str]] = &[
    &[],
    &["new"],
    &["dev"],
    &["run"],
    &["publish"],
    &["pipe"],
    &["invoke"],
    &["test"],
    &["inspect"],
    &["check"],
    &["queues"],
    &["tenants"],
    &["reload"],
    &["logs"],
    &["token"],
    &["dead-letters"],
    &["dead-letters", "list"],
    &["dead-letters", "show"],
    &["dead-letters", "redrive"],
    &["dead-letters", "purge"],
    &["config-schema"],
    &["completions"],
];

#[test]
fn the_help_of_every_verb_is_what_was_agreed() {
    let place = Place::default();
    for verb in VERBS {
        let help = place.run(&[*verb, &["--help"]].concat()).exits(0).stdout();
        let name = [&["wasmpost"], *verb].concat().join("-");
        insta::assert_snapshot!(name, help);
    }
}

#[test]
fn the_help_of_every_verb_has_an_example() {
    let place = Place::default();
    for verb in VERBS.iter().filter(|verb| !verb.is_empty()) {
        let help = place.run(&[*verb, &["--help"]].concat()).exits(0).stdout();
        assert!(help.contains("Example"), "{verb:?}");
    }
}

#[test]
fn the_list_of_verbs_is_complete() {
    let command = wasmpost::cli::command();
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        assert!(VERBS.contains(&&[verb.get_name()][..]), "{} is not tested", verb.get_name());
    }
}

#[test]
fn every_shell_gets_completions() {
    let place = Place::default();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(place.run(&["completions", shell]).exits(0).stdout().contains("dead-letters"), "{shell}");
    }
}

#[test]
fn wrong_usage_exits_with_2_and_names_what_is_wrong() {
    let place = Place::default();
    for (arguments, named) in [
        (&["serve"][..], "serve"),
        (&["run", "--quue", "x"], "--quue"),
        (&["publish"], "TOPIC"),
        (&["publish", "orders"], "FILE|-"),
        (&["publish", "orders", "-", "--delay", "soon"], "soon"),
        (&["publish", "orders", "-", "--attribute", "novalue"], "novalue"),
        (&["publish", "orders", "-", "--attribute", "Wasmpost-Id=1"], "reserved"),
        (&["publish", "orders", "-", "--attribute", "a b=1"], "a b"),
        (&["dead-letters", "redrive"], "ID"),
        (&["dead-letters", "list", "--reason", "bad-luck"], "bad-luck"),
        (&["invoke", "x.wasm", "--publish", "a*b"], "a*b"),
    ] {
        let ran = place.run(arguments).exits(2);
        assert!(ran.stderr().contains(named), "{named} in {}", ran.stderr());
    }
}
