//! `wasmpost test`: cases in files that pass, that fail with a difference that can be read, and that are wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A fault fails the test.

use wasmpost_tests::{Place, Ran, guest};

/// A directory of cases for a guest of the tests.
fn suite(component: &str, more: &str) -> Place {
    let place = Place::default();
    std::fs::create_dir(place.path().join("tests")).unwrap();
    place.write("tests/wasmpost-test.toml", format!("component = {:?}\npublish = [\"out\"]\n{more}", guest(component)));
    place
}

fn case(place: &Place, name: &str, text: &str) {
    place.write(&format!("tests/{name}.toml"), text);
}

fn read(place: &Place, name: &str) -> String {
    std::fs::read_to_string(place.path().join("tests").join(name)).unwrap()
}

/// Runs the cases, which have to fail, and tells what was printed.
#[track_caller]
fn failure(place: &Place) -> String {
    place.run(&["test", "tests"]).fails(1, &["did not end as expected"]).stdout()
}

#[track_caller]
fn shows(ran: &str, lines: &[&str]) {
    for line in lines {
        assert!(ran.lines().any(|shown| shown.trim() == *line), "{line:?} in\n{ran}");
    }
}

const ECHO: &str = "
attributes = { tag = [\"one\", \"två\"], Kind = \"note\" }
body = '{\"a\": 1, \"b\": [true, null]}'

[expect]
verdict = \"ok\"

[[expect.published]]
topic = \"out\"
attributes = { Kind = \"note\", Tag = [\"one\", \"två\"] }
";

fn echo(body: &str) -> Place {
    let place = suite("echo", "");
    case(&place, "echo", &format!("{ECHO}{body}\n"));
    place
}

#[test]
fn cases_that_end_as_expected_pass() {
    let place = suite("echo", "");
    case(&place, "text", &format!("{ECHO}body = '{{\"a\": 1, \"b\": [true, null]}}'"));
    case(&place, "json", &format!("{ECHO}body_json = '{{\"b\": [true, null], \"a\": 1}}'"));
    std::fs::create_dir(place.path().join("tests/own")).unwrap();
    place.write("tests/own/body.bin", [0, 255, 10, 13]);
    place.write(
        "tests/own/case.toml",
        "body_file = \"body.bin\"\n[expect]\nverdict = \"ok\"\n[[expect.published]]\ntopic = \"out\"\nbody_file = \"body.bin\"",
    );
    case(
        &place,
        "bytes",
        "body_base64 = \"AP8KDQ==\"\n[expect]\nverdict = \"ok\"\n[[expect.published]]\ntopic = \"out\"\nbody_base64 = \"AP8KDQ==\"",
    );
    case(
        &place,
        "empty",
        "config = { to = \"out\" }\n[expect]\nverdict = \"ok\"\n[[expect.published]]\ntopic = \"out\"",
    );
    let ran = place.run(&["test", "tests"]).exits(0).stdout();
    for name in ["text", "json", "own", "bytes", "empty"] {
        assert!(ran.lines().any(|line| line.starts_with("passed") && line.contains(name)), "{name} in {ran}");
    }
    assert!(ran.contains("5 cases: 5 passed, 0 failed") && !ran.contains('\u{1b}'), "{ran}");
}

#[test]
fn failures_of_every_kind_can_be_expected() {
    let place = suite("failing", "");
    case(&place, "retry", "attempt = 3\n[expect]\nverdict = \"retry\"\nerror = \"attempt 3 failed\"");
    case(&place, "part", "[expect]\nverdict = \"retry\"\nerror_contains = \"attempt\"");
    case(&place, "any", "[expect]\nverdict = \"retry\"");
    assert!(place.run(&["test", "tests"]).exits(0).stdout().contains("3 passed"));
    let place = suite("trapping", "");
    case(&place, "trap", "[expect]\nverdict = \"trap\"");
    place.run(&["test", "tests"]).exits(0);
    let place = suite("looping", "limits = { cpu = \"50ms\" }");
    case(&place, "limit", "[expect]\nverdict = \"cpu-limit\"");
    place.run(&["test", "tests"]).exits(0);
    let place = suite("rejecting", "");
    case(&place, "reject", "[expect]\nverdict = \"reject\"");
    place.run(&["test", "tests"]).exits(0);
    let place = suite("logging", "");
    case(&place, "log", "id = \"seven\"\n[expect]\nverdict = \"ok\"\nlog = [\"levels: Level::Warn seven\"]");
    place.run(&["test", "tests"]).exits(0);
}

#[test]
fn a_body_that_differs_is_shown_line_by_line() {
    shows(&failure(&echo("body = 'b'")), &["- body = \"b\"", "+ body = \"{\\\"a\\\": 1, \\\"b\\\": [true, null]}\""]);
    let json = failure(&echo("body_json = '{\"b\": [true, 2], \"a\": 1}'"));
    shows(&json, &["\"a\": 1,", "-       2", "+       null"]);
    let place = echo("body_base64 = \"AP8=\"");
    shows(&failure(&place), &["- body_base64 = \"AP8=\""]);
}

#[test]
fn a_long_body_is_shown_where_it_begins_to_differ() {
    let place = suite("echo", "");
    std::fs::create_dir(place.path().join("tests/long")).unwrap();
    place.write("tests/long/sent", "x".repeat(1 << 20));
    place.write("tests/long/wanted", format!("{}yes{}", "x".repeat(700_000), "x".repeat(1000)));
    place.write(
        "tests/long/case.toml",
        "body_file = \"sent\"\n[expect]\nverdict = \"ok\"\n[[expect.published]]\ntopic = \"out\"\nbody_file = \"wanted\"",
    );
    let ran = failure(&place);
    shows(&ran, &["- body has 701003 bytes", "+ body has 1048576 bytes"]);
    let excerpt = format!("-   from byte 699936: \"{}yes{}\"", "x".repeat(64), "x".repeat(61));
    shows(&ran, &[&excerpt]);
    assert!(ran.len() < 4000, "{} bytes are too many to read", ran.len());
}

#[test]
fn publications_beside_the_expected_ones_are_a_failure() {
    let body = "body_json = '{\"b\": [true, null], \"a\": 1}'";
    let change = |from: &str, to: &str| {
        let place = suite("echo", "");
        case(&place, "echo", &format!("{ECHO}{body}").replace(from, to));
        failure(&place)
    };
    shows(&change("topic = \"out\"", "topic = \"in\""), &["- topic = \"in\"", "+ topic = \"out\""]);
    shows(
        &change("Tag = [\"one\", \"två\"]", "Tag = [\"två\", \"one\"]"),
        &["- attributes.Tag = [\"två\", \"one\"]", "+ attributes.Tag = [\"one\", \"två\"]"],
    );
    shows(&change("Kind = \"note\", Tag", "Tag"), &["+ attributes.Kind = \"note\""]);
    shows(
        &change("[[expect.published]]", "[[expect.published]]\ntopic = \"first\"\n[[expect.published]]"),
        &["- topic = \"first\""],
    );
    shows(&change("topic = \"out\"", "topic = \"out\"\ndelay = \"2s\""), &["- delay = \"2s\""]);
    let place = suite("echo", "");
    case(&place, "echo", "[expect]\nverdict = \"ok\"");
    shows(&failure(&place), &["+ [[published]]", "+ topic = \"out\""]);
}

#[test]
fn a_verdict_or_error_or_log_that_differs_is_shown_with_the_reason() {
    let place = suite("failing", "");
    case(&place, "ok", "[expect]\nverdict = \"ok\"");
    shows(&failure(&place), &["- verdict = \"ok\"", "+ verdict = \"retry\"", "+ error = \"attempt 1 failed\""]);
    case(&place, "ok", "[expect]\nverdict = \"retry-after\"\ndelay = \"2s\"");
    shows(&failure(&place), &["- verdict = \"retry-after\"", "- delay = \"2s\"", "error: attempt 1 failed"]);
    case(&place, "ok", "[expect]\nverdict = \"retry\"\nerror = \"attempt 2 failed\"");
    shows(&failure(&place), &["- error = \"attempt 2 failed\"", "+ error = \"attempt 1 failed\""]);
    case(&place, "ok", "[expect]\nverdict = \"retry\"\nerror_contains = \"timeout\"");
    shows(&failure(&place), &["- error contains \"timeout\"", "+ error = \"attempt 1 failed\""]);
    case(&place, "ok", "[expect]\nverdict = \"retry\"\nlog = [\"trying\"]");
    shows(&failure(&place), &["- log contains \"trying\""]);
    let place = suite("logging", "");
    case(&place, "log", "[expect]\nverdict = \"ok\"\nlog = [\"levels: Level::Warn log\", \"quiet\"]");
    let ran = failure(&place);
    shows(&ran, &["log contains \"levels: Level::Warn log\"", "- log contains \"quiet\""]);
    assert!(ran.contains("log: info logging levels: Level::Info log") && !ran.contains('\u{1b}'), "{ran}");
    let place = suite("trapping", "");
    case(&place, "trap", "[expect]\nverdict = \"ok\"");
    let ran = failure(&place);
    shows(&ran, &["+ verdict = \"trap\""]);
    assert!(ran.contains("wasm trap"), "the error is told: {ran}");
}

#[test]
fn a_wrong_file_is_named_with_line_and_column() {
    let place = suite("noop", "");
    for (text, words) in [
        ("body = 1", &["tests/wrong.toml:1:8: "][..]),
        ("bdy = \"\"", &["tests/wrong.toml:1:1: ", "bdy"]),
        ("\n[expect]\nverdict = \"okay\"", &["tests/wrong.toml:3:11: ", "okay", "retry-after", "cpu-limit"]),
        ("[expect]\nverdict = \"retry-after\"", &["tests/wrong.toml:2:11: ", "needs a delay"]),
        ("[expect]\nverdict = \"retry\"\ndelay = \"2s\"", &["tests/wrong.toml:2:11: ", "has no delay"]),
        ("[expect]\nverdict = \"ok\"\nerror = \"x\"", &["tests/wrong.toml:3:9: ", "no error"]),
        (
            "[expect]\nverdict = \"retry\"\nerror = \"\"\nerror_contains = \"\"",
            &["tests/wrong.toml:4:18: ", "one of them"],
        ),
        (
            "[expect]\nverdict = \"retry\"\n[[expect.published]]\ntopic = \"a\"",
            &["tests/wrong.toml:4:9: ", "publishes nothing"],
        ),
        ("[expect]\nverdict = \"ok\"\n[[expect.published]]\ntopic = \"a b\"", &["tests/wrong.toml:4:9: ", "a b"]),
        ("body = \"\"\nbody_base64 = \"\"", &["tests/wrong.toml:2:15: ", "given twice"]),
        ("body_base64 = \"?\"", &["tests/wrong.toml:1:15: ", "not base64"]),
        ("body_file = \"gone\"", &["tests/wrong.toml:1:13: ", "tests/gone", "could not be read"]),
        (
            "[expect]\nverdict = \"ok\"\n[[expect.published]]\ntopic = \"a\"\nbody_json = '{'",
            &["tests/wrong.toml:5:13: ", "not JSON"],
        ),
        ("attributes = { wasmpost-id = \"x\" }", &["tests/wrong.toml:1:30: ", "reserved"]),
        ("attributes = { x = 1 }", &["tests/wrong.toml:1:20: ", "list of values"]),
        ("now = \"noon\"", &["tests/wrong.toml:1:7: ", "noon", "2000-01-01T00:00:00Z"]),
        ("attempt = 0", &["tests/wrong.toml:1:11: "]),
        ("body = \"\"", &["tests/wrong.toml has no [expect]", "--update"]),
    ] {
        case(&place, "wrong", text);
        place.run(&["test", "tests"]).fails(2, words);
    }
}

#[test]
fn a_suite_without_cases_or_component_or_file_is_refused() {
    let place = Place::default();
    place.run(&["test", "tests"]).fails(2, &["tests/wasmpost-test.toml", "could not be read"]);
    let place = suite("noop", "");
    place.run(&["test", "tests"]).fails(2, &["no case lies beside tests/wasmpost-test.toml"]);
    case(&place, "noop", "[expect]\nverdict = \"ok\"");
    place.run(&["test", "tests", "--filter", "echo"]).fails(2, &["\"echo\""]);
    place.run(&["test", "tests", "--component", "gone.wasm"]).fails(2, &["gone.wasm"]);
    place.write("tests/wasmpost-test.toml", "");
    place.run(&["test", "tests"]).fails(2, &["names no component", "--component"]);
    place.run(&["test", "tests", "--component", guest("noop").to_str().unwrap()]).exits(0);
    place.write("tests/wasmpost-test.toml", "\nlimit = 1");
    place.run(&["test", "tests"]).fails(2, &["tests/wasmpost-test.toml:2:1: ", "limit"]);
}

#[test]
fn a_filter_chooses_cases_by_their_names() {
    let place = suite("failing", "");
    for name in ["retry-one", "retry-two", "other"] {
        case(&place, name, "[expect]\nverdict = \"retry\"");
    }
    case(&place, "wrong", "[expect]\nverdict = \"ok\"");
    let ran = place.run(&["test", "tests", "--filter", "retry-"]).exits(0).stdout();
    assert!(ran.contains("2 cases: 2 passed") && !ran.contains("other") && !ran.contains("wrong"), "{ran}");
}

/// The attributes that the guest `clock` publishes.
fn told(ran: &Ran, name: &str) -> Vec<String> {
    let start = format!("+ attributes.{name} = ");
    ran.stdout().lines().filter_map(|line| line.trim().strip_prefix(&start).map(str::to_owned)).collect()
}

#[test]
fn time_of_day_and_random_numbers_are_the_same_each_time() {
    let place = suite("clock", "");
    let nothing = "[expect]\nverdict = \"ok\"";
    case(&place, "one", nothing);
    case(&place, "two", &format!("now = 2024-02-29T10:00:00.5+01:00\n{nothing}"));
    let ran = place.run(&["test", "tests"]).exits(1);
    assert_eq!(told(&ran, "Now"), ["\"946684800.000000000\"", "\"1709197200.500000000\""]);
    let random = told(&ran, "Random");
    assert_eq!(random[0], random[1], "each case has the same numbers");
    assert_eq!(told(&place.run(&["test", "tests"]).exits(1), "Random"), random, "and each run");
    let numbers: std::collections::HashSet<_> = random[0].split(", ").collect();
    assert_eq!(numbers.len(), 3, "its sources differ: {random:?}");
    let other = suite("clock", "seed = 7\nnow = 2001-01-01T00:00:00Z");
    case(&other, "one", nothing);
    let ran = other.run(&["test", "tests"]).exits(1);
    assert!(told(&ran, "Random")[0] != random[0] && told(&ran, "Now") == ["\"978307200.000000000\""]);
}

#[test]
fn a_message_that_goes_to_its_instance_again_has_to_end_the_same() {
    let place = suite("counter", "");
    let counted = "[expect]\nverdict = \"ok\"\n[[expect.published]]\ntopic = \"out\"\nbody = \"1\"";
    case(&place, "count", counted);
    place.run(&["test", "tests"]).exits(0);
    case(&place, "count", &format!("reuse = 3\n{counted}"));
    shows(&failure(&place), &["- body = \"1\"", "+ body = \"2\"", "this was time 2 of the message in its instance"]);
}

#[test]
fn results_are_written_as_junit() {
    let place = suite("failing", "");
    case(&place, "good", "[expect]\nverdict = \"retry\"");
    case(&place, "bad", "[expect]\nverdict = \"ok\"");
    place.run(&["test", "tests", "--junit", "results.xml"]).exits(1);
    let xml = std::fs::read_to_string(place.path().join("results.xml")).unwrap();
    let report = quick_junit::Report::deserialize_from_str(&xml).unwrap();
    let suite = &report.test_suites[0];
    assert_eq!((suite.name.as_str(), suite.tests, suite.failures, suite.errors), ("tests", 2, 1, 0));
    let bad = &suite.test_cases[0];
    let good = &suite.test_cases[1];
    assert_eq!((bad.name.as_str(), good.name.as_str()), ("bad", "good"));
    assert!(matches!(good.status, quick_junit::TestCaseStatus::Success { .. }) && good.time.is_some());
    let quick_junit::TestCaseStatus::NonSuccess { message, description, .. } = &bad.status else { unreachable!() };
    assert_eq!(message.as_ref().unwrap().as_str(), "ended with retry, not as expected");
    let text = description.as_ref().unwrap().as_str();
    assert!(text.contains("- verdict = \"ok\"") && text.contains("+ verdict = \"retry\""), "{text}");
}

#[test]
fn update_writes_what_was_seen_and_keeps_the_rest() {
    let place = suite("echo", "");
    let before = "# Two values.\nattributes = { Tag = [\"one\", \"two\"] } # here\nbody = \"hello\"\n\n# What comes out.\n\
                  [expect]\nverdict = \"retry\" # not for ever\nerror = \"x\"\n";
    case(&place, "changed", before);
    case(&place, "new", "body = \"a\\nb\\n\"\n");
    let right = format!("# right\n{ECHO}body_json = '{{\"b\": [true,null], \"a\": 1}}'\n");
    case(&place, "right", &right);
    case(&place, "wrong-json", &format!("{ECHO}# the body\nbody_json = '{{}}'\n"));
    std::fs::create_dir(place.path().join("tests/file")).unwrap();
    place.write("tests/file/out", "old");
    let file = "body = \"new\"\n[expect]\nverdict = \"ok\"\n[[expect.published]]\ntopic = \"out\"\nbody_file = \"out\" # kept\n";
    place.write("tests/file/case.toml", file);
    let ran = place.run(&["test", "tests", "--update"]).exits(0).stdout();
    assert!(ran.contains("5 cases: 1 passed, 0 failed, 4 updated"), "{ran}");
    assert_eq!(
        read(&place, "changed.toml"),
        "# Two values.\nattributes = { Tag = [\"one\", \"two\"] } # here\nbody = \"hello\"\n\n# What comes out.\n\
         [expect]\nverdict = \"ok\" # not for ever\n\n[[expect.published]]\ntopic = \"out\"\n\
         attributes = { Tag = [\"one\", \"two\"] }\nbody = \"hello\"\n"
    );
    assert_eq!(read(&place, "right.toml"), right);
    assert!(
        read(&place, "wrong-json.toml").contains("# the body\nbody_json = "),
        "{}",
        read(&place, "wrong-json.toml")
    );
    assert_eq!((read(&place, "file/out"), read(&place, "file/case.toml")), ("new".to_owned(), file.to_owned()));
    let again = place.run(&["test", "tests"]).exits(0).stdout();
    assert!(again.contains("5 passed"), "{again}");
}

#[test]
fn update_writes_how_a_message_failed() {
    let place = suite("failing", "");
    case(&place, "new", "");
    case(&place, "part", "[expect]\nverdict = \"retry\"\nerror_contains = \"x\"\nlog = [\"gone\"]\n");
    case(&place, "published", "[expect]\nverdict = \"ok\"\n\n[[expect.published]]\ntopic = \"out\"\n");
    place.run(&["test", "tests", "--update"]).exits(0);
    assert_eq!(read(&place, "new.toml"), "[expect]\nverdict = \"retry\"\nerror = \"attempt 1 failed\"\n");
    assert_eq!(read(&place, "part.toml"), "[expect]\nverdict = \"retry\"\nlog = []\nerror = \"attempt 1 failed\"\n");
    assert_eq!(read(&place, "published.toml"), "[expect]\nverdict = \"retry\"\n");
    place.run(&["test", "tests"]).exits(0);
}
