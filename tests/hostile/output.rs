//! Guests that write too much, or text that a terminal would obey.

use serde_json::json;
use wasmpost_tests::PATIENCE;

use crate::arena::{Aftermath, Arena, NEIGHBOURS};
use crate::guests::*;

/// Time enough for what is slow in a build for tests; the limits of output are those by default.
const TIME: &str = "cpu = \"50s\", wall = \"50s\"";

/// The most memory that a host needs in these tests, in KiB: a fraction of what the guests write.
const PEAK_KIB_MAX: u64 = 128 << 10;

/// The remains after an attacker's one message, and the peak memory of the host until then, in KiB.
fn watched(arena: Arena) -> (Aftermath, u64) {
    let mut peak_kib = 0;
    let after = arena.fight_with(|host| {
        host.wait_for_acks(NEIGHBOURS + 1);
        peak_kib = host.peak_kib();
    });
    (after, peak_kib)
}

#[test]
fn a06_a_gibibyte_of_output_is_dropped_counted_and_held_nowhere() {
    let (after, peak_kib) = watched(Arena::new().attacker(A06_GIBIBYTE, &format!("limits = {{ {TIME} }}")));
    after.survived(A06_GIBIBYTE, 1);
    // The first line fills the log but for one byte.
    let logged = after.logged(A06_GIBIBYTE.name);
    assert_eq!((logged.len(), logged[1].len()), (3, (64 << 10) - 1));
    assert_eq!(logged[2], "16383 log lines over the limit were dropped");
    assert!(peak_kib < PEAK_KIB_MAX, "the host needed {peak_kib} KiB");
}

#[test]
fn a06_empty_writes_without_number_are_free_and_held_nowhere() {
    let settings = format!("config = {{ writes = \"5000000\" }}\nlimits = {{ {TIME} }}");
    let (after, peak_kib) = watched(Arena::new().attacker(A06_EMPTY_WRITES, &settings));
    after.survived(A06_EMPTY_WRITES, 1);
    assert_eq!(after.logged(A06_EMPTY_WRITES.name), ["receiving"], "nothing is dropped");
    assert!(peak_kib < PEAK_KIB_MAX, "the host needed {peak_kib} KiB");
}

#[test]
fn a06_log_lines_over_the_limit_are_counted_and_the_others_are_one_line_each() {
    let settings = format!("config = {{ lines = \"10000\" }}\nlimits = {{ {TIME} }}");
    let after = Arena::new().attacker(A06_LOG_LINES, &settings).fight();
    after.survived(A06_LOG_LINES, 1);
    let logged = after.logged(A06_LOG_LINES.name);
    assert_eq!((logged.len(), logged[1]), (258, "\u{1b}[31m0\r\nforged\n"));
    assert_eq!(logged.last(), Some(&"9744 log lines over the limit were dropped"));
}

#[test]
fn a07_an_enormous_error_text_and_a_list_of_ten_million_are_too_large() {
    let limits = "limits = { memory = \"250MiB\" }";
    let sized = format!("config = {{ bytes = \"{}\" }}\n{limits}", 100 << 20);
    let after = Arena::new().attacker(A07_ERROR_TEXT, &sized).attacker(A07_LIST, limits).fight();
    for guest in [A07_ERROR_TEXT, A07_LIST] {
        after.died(guest, "result-too-large");
    }
}

#[test]
fn a07_a_long_error_text_is_cut() {
    let settings = "config = { bytes = \"1000000\" }\nlimits = { error_text = \"1KiB\" }";
    let after = Arena::new().attacker(A07_ERROR_TEXT, settings).fight();
    let letter = after.died(A07_ERROR_TEXT, "attempts");
    assert_eq!(letter["evidence"]["error"], "x".repeat(1 << 10));
}

#[test]
fn a07_control_characters_in_an_error_text_reach_no_terminal() {
    let after = Arena::new().attacker(A07_CONTROLS, "").fight();
    let letter = after.died(A07_CONTROLS, "rejected");
    let text = letter["evidence"]["error"].as_str().unwrap();
    assert!(text.starts_with("\u{1b}[31m\u{1b}]0;owned\u{7}") && text.ends_with("\0end"), "JSON tells it as it is");
    let list = after.place.run(&["dead-letters", "list"]).exits(0).stdout();
    let shown = after.place.run(&["dead-letters", "show", letter["id"].as_str().unwrap()]).exits(0).stdout();
    for output in [list, shown] {
        assert!(output.contains(r"\u{1b}[31m\u{1b}]0;owned\u{7}\u{9b}2J\u{8}\u{202e}<script>"), "{output}");
        let obeyed = |letter: char| letter != '\n' && (letter.is_control() || "\u{202e}\u{2028}".contains(letter));
        assert!(!output.contains(obeyed) && !output.contains("\nforged line"), "{output:?}");
    }
}

#[test]
fn a07_control_characters_in_an_error_text_do_not_reach_the_log() {
    for format in ["human", "json"] {
        let arena = Arena::new().attacker(A07_CONTROLS, "");
        arena.prepare();
        let log = arena.place.run(&["run", "--until-empty", "--log-format", format]).exits(0).stderr();
        assert!(log.contains("forged line"), "{log}");
        assert!(!log.contains(|letter: char| letter != '\n' && letter.is_control()), "{format}: {log:?}");
        assert!(!log.lines().any(|line| line.starts_with("forged line")), "{format}: {log:?}");
    }
}

#[test]
fn a10_a_guest_sees_nothing_of_the_host_and_opens_nothing() {
    let arena = Arena::new().attacker(A10_LOOKS, "");
    let canary = "canary-7d1f";
    arena.prepare();
    arena.place.write(canary, canary);
    let mut run = assert_cmd::Command::from_std(arena.place.command(&["run", "--until-empty", "--log", "trace"]));
    let output = run.env("CANARY", canary).env("AWS_SECRET_ACCESS_KEY", canary).timeout(PATIENCE).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let after = arena.ended(&String::from_utf8(output.stderr.clone()).unwrap());
    after.survived(A10_LOOKS, 1);
    let expected = [
        "environment: []",
        "arguments: []",
        "directory: None",
        "opened directories: 0",
        "standard input: Err(\"StreamError::Closed\")",
        "connecting: \"access-denied\"",
        "listening: \"access-denied\"",
        "datagrams: \"access-denied\"",
        "name: \"permanent-resolver-failure\"",
    ];
    assert_eq!(after.seen(), [expected.join("\n")]);
    assert!(!after.holds(canary), "nothing that the host keeps has the canary");
    assert!(!String::from_utf8(output.stderr).unwrap().contains(canary));
}

#[test]
fn a10_the_clocks_of_a_hostile_host_show_milliseconds() {
    let after = Arena::new().attacker(A10_CLOCKS, "").fight();
    assert_eq!(after.seen(), ["finer than a millisecond: false false; resolution: (1000000, 1000000)"]);
}

#[test]
fn a13_attributes_of_the_host_and_those_that_break_headers_or_are_too_many_are_refused() {
    let after = Arena::new().attacker(A13_FORGE, "").fight();
    after.survived(A13_FORGE, 1);
    let seen = after.seen();
    let [told] = &seen[..] else { panic!("only what it tells is published: {seen:?}") };
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines, ["invalid-attribute invalid-attribute"; 16], "{told}");
    let letter = &after.seen_letters()[0];
    assert_eq!((&letter["hops"], &letter["attributes"]), (&json!(1), &json!({})));
}
