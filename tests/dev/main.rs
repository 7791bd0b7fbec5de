//! `wasmpost dev`: what is saved is built and handled, faults are shown while the old component serves, and nothing is left
//! behind.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A fault fails the test.

mod session;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use session::Session;
use wasmpost_tests::{Place, find_guest, guest, wait_until};

/// How long the first build of a language may take: it may compile what components are made of.
const FIRST_BUILD_MAX: Duration = Duration::from_secs(300);
/// A build that copies a component, and notes that it ran.
const COPY: &str = "cp source.bin next.wasm~ && mv next.wasm~ receiver.wasm && echo x >> .builds";

/// A project whose source is a component that is there already, with one sample.
fn project(build: &str) -> Place {
    let place = Place::default();
    place.write(
        "wasmpost.toml",
        format!(
            "[[receivers]]\nqueue = \"in\"\ncomponent = \"receiver.wasm\"\npublish = [\"out\"]\n[dev]\nbuild = '''{build}'''\n"
        ),
    );
    save(&place, "echo");
    std::fs::create_dir(place.path().join("samples")).unwrap();
    place.write("samples/hello.txt", "good morning");
    place
}

/// Saves the source: the component of a guest.
fn save(place: &Place, name: &str) {
    std::fs::copy(guest(name), place.path().join("source.bin")).unwrap();
}

fn start(place: &Place) -> Session {
    Session::start(place, place.path(), &[])
}

fn builds(place: &Place) -> usize {
    std::fs::read_to_string(place.path().join(".builds")).unwrap_or_default().lines().count()
}

fn saving_shows_what_the_new_component_makes_of_the_samples() {
    let place = project(COPY);
    let session = start(&place);
    let first = session.shows("published out, 12 bytes: good morning");
    assert!(first.iter().any(|line| line.starts_with("ack") && line.contains("hello#1  ")), "{first:?}");
    save(&place, "rejecting");
    let second = session.shows("error rejected: not for me");
    assert!(second.iter().any(|line| line.contains("source.bin has changed")), "{second:?}");
    assert!(second.iter().any(|line| line.starts_with("reject") && line.contains("hello#2  ")), "{second:?}");
    save(&place, "logging");
    let third = session.shows("log critical logging levels: Level::Critical hello#3");
    assert!(third.iter().any(|line| line.starts_with("ack")), "lines of the log are below their message: {third:?}");
    assert_eq!((session.end().0, builds(&place)), (Some(0), 3));
}

/// The words of the command that sends a message to a session, from what it shows at first.
fn to_send(shown: &[String]) -> Vec<String> {
    let hint = shown.iter().find_map(|line| line.strip_prefix("to send   wasmpost ")).unwrap();
    hint.split(' ').map(|word| word.trim_matches('\'').to_owned()).collect()
}

fn a_sample_that_failed_is_not_tried_again_by_the_next_component() {
    let place = project(COPY);
    save(&place, "flaky");
    let session = start(&place);
    let words = to_send(&session.shows("attempt 1 failed"));
    save(&place, "echo");
    let mut shown = session.shows("hello#2");
    // The first comes again a second later, and is put away.
    let broker = words.iter().find(|word| word.starts_with("sqlite:")).unwrap();
    wait_until("both samples are acked", || {
        let queues = place.run(&["queues", "--json", "--broker", broker]).exits(0).json();
        queues.as_array().unwrap().iter().any(|queue| queue["queue"] == "in" && queue["acked"] == 2)
    });
    shown.extend(session.end().1);
    assert!(!shown.iter().any(|line| line.contains("hello#1")), "{shown:?}");
}

fn an_error_of_a_build_is_shown_as_it_is_and_the_old_component_serves() {
    let place = project(&format!("if [ -f fault ]; then cat fault >&2; exit 7; fi; {COPY}"));
    let session = start(&place);
    session.shows("published out");
    place.write("fault", "receiver.c:7:3: \u{1b}[31merror\u{1b}[0m: expected ';'\n");
    session.shows("receiver.c:7:3: \u{1b}[31merror\u{1b}[0m: expected ';'");
    session.shows("-- build failed (exit status 7); the component from before serves on");
    place.write("samples/hello.txt", "still");
    session.shows("published out, 5 bytes: still");
    std::fs::remove_file(place.path().join("fault")).unwrap();
    session.shows("-- built in");
    session.shows("published out, 5 bytes: still");
}

fn a_first_build_that_fails_is_tried_again_when_something_changes() {
    let place = project(&format!("[ ! -f fault ] && {COPY}"));
    place.write("fault", "");
    let session = start(&place);
    session.shows("-- build failed (exit status 1); nothing is served");
    std::fs::remove_file(place.path().join("fault")).unwrap();
    session.shows("published out, 12 bytes: good morning");
}

fn saves_during_a_build_cause_one_more_build() {
    let place = project(&format!("echo buil''ding; {COPY}; while [ -f .held ]; do sleep 0.01; done"));
    let session = start(&place);
    session.shows("published out");
    place.write(".held", "");
    place.write("notes.txt", "begin");
    session.shows("building");
    for number in 0..3 {
        place.write("notes.txt", format!("{number}"));
    }
    std::fs::remove_file(place.path().join(".held")).unwrap();
    let between = session.shows("building");
    assert!(between.iter().any(|line| line.contains("-- built in")), "{between:?}");
    session.shows("published out");
    // Another build would begin with the next change that is looked at.
    place.write("samples/hello.txt", "end");
    let rest = session.shows("published out, 3 bytes: end");
    assert!(!rest.iter().any(|line| line.contains("building")), "{rest:?}");
    assert_eq!(builds(&place), 3);
}

fn a_burst_of_saves_is_one_build() {
    let place = project(COPY);
    let session = start(&place);
    session.shows("published out");
    for number in 0..50 {
        place.write("notes.txt", format!("{number}"));
        place.write(&format!("note-{number}.txt"), "new");
    }
    session.shows("and 50 more have changed");
    session.shows("published out");
    assert_eq!(builds(&place), 2);
}

fn a_file_that_is_written_as_it_was_is_no_change() {
    let place = project(COPY);
    let session = start(&place);
    session.shows("published out");
    save(&place, "echo");
    place.write("samples/hello.txt", "end");
    let rest = session.shows("published out, 3 bytes: end");
    assert!(!rest.iter().any(|line| line.contains("source.bin")), "{rest:?}");
    assert_eq!(builds(&place), 1);
}

fn a_file_that_every_build_writes_does_not_build_for_ever() {
    let place = project(&format!("date +%N > made.txt; {COPY}"));
    let session = start(&place);
    session.shows("made.txt was changed by each build");
    session.shows("published out");
    place.write("samples/hello.txt", "end");
    session.shows("published out, 3 bytes: end");
    assert_eq!(builds(&place), 4, "the first, and three because the file changed");
    place.write("notes.txt", "a change of something else still counts");
    session.shows("notes.txt has changed");
    session.shows("published out");
    assert_eq!(builds(&place), 5);
}

fn a_component_that_is_gone_is_told_and_the_old_one_serves() {
    let place = project(&format!("if [ -f gone ]; then rm -f receiver.wasm; else {COPY}; fi"));
    let session = start(&place);
    session.shows("published out");
    place.write("gone", "");
    let told = session.shows("-- not loaded: ");
    assert!(told.last().unwrap().contains("receiver.wasm"), "{told:?}");
    assert!(told.last().unwrap().ends_with("the one from before serves on"), "{told:?}");
    place.write("samples/hello.txt", "still");
    session.shows("published out, 5 bytes: still");
}

fn a_signal_ends_the_build_with_all_its_processes() {
    let place = project("sleep 1000 & echo be''gun $!; wait");
    let session = start(&place);
    let begun = session.shows("begun ");
    let process = begun.last().unwrap().split(' ').nth(1).unwrap().to_owned();
    let process = Path::new("/proc").join(process);
    assert!(process.exists());
    let began = Instant::now();
    assert_eq!(session.end().0, Some(0));
    assert!(began.elapsed() < Duration::from_secs(20));
    // It has no parent any more: whoever takes it over may take a moment to reap it.
    wait_until("the process of the build has ended", || {
        std::fs::read_to_string(process.join("stat")).map_or(true, |stat| stat.contains(") Z "))
    });
}

fn a_build_that_takes_too_long_is_ended() {
    let place = project(&format!("if [ -f slow ]; then sleep 1000; fi; {COPY}"));
    let session = Session::start(&place, place.path(), &["--build-timeout", "5s"]);
    session.shows("published out");
    place.write("slow", "");
    session.shows("-- build failed (took longer than 5s and was ended; see --build-timeout)");
    std::fs::remove_file(place.path().join("slow")).unwrap();
    session.shows("published out");
}

fn messages_of_other_commands_are_shown() {
    let place = project(COPY);
    let session = start(&place);
    let shown = session.shows("published out");
    let words = to_send(&shown);
    let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
    arguments.extend(["--id", "by-hand"]);
    place.run_with(&arguments, "from elsewhere").exits(0);
    let shown = session.shows("published out, 14 bytes: from elsewhere");
    assert!(shown.iter().any(|line| line.starts_with("ack") && line.contains("by-hand")), "{shown:?}");
    let file = words.iter().find_map(|word| word.strip_prefix("sqlite:")).map(PathBuf::from).unwrap();
    assert!(file.exists());
    session.end();
    assert!(!file.parent().unwrap().exists(), "queues are gone with the command");
}

fn a_change_of_the_configuration_counts_at_once() {
    let place = project(COPY);
    let session = start(&place);
    session.shows("published out");
    let text = std::fs::read_to_string(place.path().join("wasmpost.toml")).unwrap();
    place.write("wasmpost.toml", text.replace("queue = \"in\"", "queue = \"in\"\nconcurency = 1"));
    session.shows("configuration refused: ");
    place.write("wasmpost.toml", text.replace("[\"out\"]", "[]"));
    session.shows("nack ");
    place.write("wasmpost.toml", &text);
    session.shows("published out, 12 bytes");
}

fn samples_are_files_lines_and_cases() {
    let place = project(COPY);
    let samples = "{\"body\":\"first\",\"attributes\":{\"A\":[\"1\"]}}\n{\"body\":\"second\",\"id\":\"named\"}\n";
    place.write("samples/lines.ndjson", samples);
    place.write("samples/case.toml", "body = 'of a case'\n[expect]\nverdict = \"ok\"\n");
    let session = start(&place);
    let mut shown = Vec::new();
    for _ in 0..4 {
        shown.extend(session.shows("published out"));
    }
    shown.extend(session.end().1);
    for text in ["lines-1#1", "named#1", "case#1", "hello#1", ": first", "A: 1", ": second", ": of a case"] {
        assert!(shown.iter().any(|line| line.contains(text)), "{text} in {shown:?}");
    }
    place.write("samples/lines.ndjson", "{\"bdy\":1}");
    start(&place).shows("line 1: unknown field `bdy`");
}

fn what_is_no_project_is_refused() {
    let place = Place::default();
    place.run(&["dev"]).fails(2, &["no wasmpost.toml in .", "wasmpost new", "--component with --build"]);
    place.run(&["dev", "nowhere"]).fails(2, &["nowhere"]);
    place.run(&["dev", "--component", "a.wasm"]).fails(2, &["build.sh", "Cargo.toml", "--build"]);
    let receiver = |queue: &str| format!("[[receivers]]\nqueue = \"{queue}\"\ncomponent = \"a.wasm\"\n");
    place.write("wasmpost.toml", receiver("a") + &receiver("b"));
    place.run(&["dev", "--build", "true"]).fails(2, &["a, b", "--queue"]);
    place.run(&["dev", "--build", "true", "--queue", "c"]).fails(2, &["\"c\""]);
    place.run(&["dev", "--build", "true", "--queue", "a", "--broker", "none"]).fails(2, &["\"none\""]);
}

fn a_component_needs_no_configuration() {
    let place = project(COPY);
    std::fs::remove_file(place.path().join("wasmpost.toml")).unwrap();
    let arguments = ["--build", COPY, "--component", "receiver.wasm", "--publish", "out", "--queue", "mine"];
    let session = Session::start(&place, place.path(), &arguments);
    session.shows("wasmpost publish mine ");
    session.shows("published out, 12 bytes: good morning");
}

/// A project of a language: a change of its source shows, and so does an error of its compiler.
fn a_project_is_built_when_its_source_is_saved(language: &str, source: &str, fault: &str) {
    let place = Place::default();
    place.run(&["new", "mine", "--lang", language]).exits(0);
    let project = place.path().join("mine");
    let session = Session::start(&place, &project, &[]);
    session.wait_for("published out, 12 bytes: good morning", FIRST_BUILD_MAX);
    let file = project.join(source);
    let text = std::fs::read_to_string(&file).unwrap();
    let old = "the body is empty";
    let new = "nothing to do";
    assert!(text.contains(old), "{text}");
    let saved = Instant::now();
    std::fs::write(&file, text.replace(old, new)).unwrap();
    session.shows("error rejected: nothing to do");
    println!("{language}: {:.2?} from saving to seeing", saved.elapsed());
    std::fs::write(&file, text.clone() + "\nno code at all\n").unwrap();
    let shown = session.shows("-- build failed");
    assert!(shown.iter().any(|line| line.contains(fault)), "{fault} in {shown:?}");
    std::fs::write(&file, text).unwrap();
    session.shows("error rejected: the body is empty");
}

fn main() {
    let tests: &[(&str, fn())] = &[
        (
            "saving_shows_what_the_new_component_makes_of_the_samples",
            saving_shows_what_the_new_component_makes_of_the_samples,
        ),
        (
            "a_sample_that_failed_is_not_tried_again_by_the_next_component",
            a_sample_that_failed_is_not_tried_again_by_the_next_component,
        ),
        (
            "an_error_of_a_build_is_shown_as_it_is_and_the_old_component_serves",
            an_error_of_a_build_is_shown_as_it_is_and_the_old_component_serves,
        ),
        (
            "a_first_build_that_fails_is_tried_again_when_something_changes",
            a_first_build_that_fails_is_tried_again_when_something_changes,
        ),
        ("saves_during_a_build_cause_one_more_build", saves_during_a_build_cause_one_more_build),
        ("a_burst_of_saves_is_one_build", a_burst_of_saves_is_one_build),
        ("a_file_that_is_written_as_it_was_is_no_change", a_file_that_is_written_as_it_was_is_no_change),
        (
            "a_file_that_every_build_writes_does_not_build_for_ever",
            a_file_that_every_build_writes_does_not_build_for_ever,
        ),
        (
            "a_component_that_is_gone_is_told_and_the_old_one_serves",
            a_component_that_is_gone_is_told_and_the_old_one_serves,
        ),
        ("a_signal_ends_the_build_with_all_its_processes", a_signal_ends_the_build_with_all_its_processes),
        ("a_build_that_takes_too_long_is_ended", a_build_that_takes_too_long_is_ended),
        ("messages_of_other_commands_are_shown", messages_of_other_commands_are_shown),
        ("a_change_of_the_configuration_counts_at_once", a_change_of_the_configuration_counts_at_once),
        ("samples_are_files_lines_and_cases", samples_are_files_lines_and_cases),
        ("what_is_no_project_is_refused", what_is_no_project_is_refused),
        ("a_component_needs_no_configuration", a_component_needs_no_configuration),
    ];
    let trial = |name: String, test: Box<dyn FnOnce() + Send>| {
        Trial::test(format!("dev::{name}"), move || {
            test();
            Ok(())
        })
    };
    let mut trials: Vec<_> = tests.iter().map(|(name, test)| trial((*name).to_owned(), Box::new(test))).collect();
    for (language, source, fault) in [
        ("rust", "src/lib.rs", "error"),
        ("c", "receiver.c", "error"),
        ("zig", "receiver.zig", "error"),
        ("assemblyscript", "assembly/receiver.ts", "ERROR"),
        ("go", "export_wasmpost_messaging_receiver/receiver.go", "receiver.go"),
    ] {
        // The tools that built the example build the project.
        let is_missing = find_guest(&format!("triage-{language}")).is_none() && language != "rust";
        let test = move || a_project_is_built_when_its_source_is_saved(language, source, fault);
        let trial = trial(format!("a_project_in_{language}_is_built_when_its_source_is_saved"), Box::new(test));
        trials.push(trial.with_ignored_flag(is_missing));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
