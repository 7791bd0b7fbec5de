//! The programs in `host/examples` run, end by themselves, and print the expected lines.
#![allow(clippy::unwrap_used)] // A fault fails the test.

use wasmpost_tests::{PATIENCE, examples, root};

/// Everything that an example prints, after it ended well.
fn printed(example: &str) -> String {
    let output = assert_cmd::Command::new(examples().join(example)).timeout(PATIENCE).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{example}: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn a_receiver_in_rust_processes_retries_and_rejects() {
    let text = printed("native_receiver");
    let mut lines: Vec<_> = text.lines().collect();
    // The server has several messages in flight, in any order.
    lines.sort_unstable();
    let expected = [
        "dead-lettered broken: rejected: no attempt can help",
        "processed flaky at attempt 2",
        "processed good at attempt 1",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_decorator_counts_what_fails_between_those_of_the_library() {
    let expected = "published less than 1000 bytes to reports, encoded as lz4\nreceived 100000 bytes\n\
                    published less than 1000 bytes to reports, encoded as lz4\n\
                    failed: panic: receiver panicked: a report says something\n1 of 2 failed\n";
    assert_eq!(printed("decorator"), expected);
}

#[test]
fn a_broker_of_ones_own_delivers_again_and_publishes_the_outbox() {
    let expected = "failing attempt 1\npublishing a reply at attempt 2\nreceived the reply at attempt 1\n\
                    0 messages are left\n";
    assert_eq!(printed("own_broker"), expected);
}

#[test]
fn an_embedded_host_hands_a_message_to_its_component() {
    assert_eq!(printed("embedded_host"), "greetings: hello from the component\nthe host has stopped\n");
}

#[test]
fn every_example_is_run_here_and_told_in_the_guide() {
    let guide = std::fs::read_to_string(root().join("docs/guides/library.md")).unwrap();
    for entry in std::fs::read_dir(root().join("host/examples")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(include_str!("examples.rs").contains(&format!("printed({name:?})")), "{name} is run");
        assert!(guide.contains(&format!("| `{name}` |")), "{name} is in docs/guides/library.md");
    }
}
