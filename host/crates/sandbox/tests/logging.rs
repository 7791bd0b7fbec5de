//! The log and the configuration of guests.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

mod guest;

use std::sync::Arc;

use guest::{Lines, core_module, message, options, receiver};
use wasmpost_msg::Receiver;
use wasmpost_sandbox::{Limits, ReceiverOptions};

/// Writes the text to a file descriptor.
fn print(descriptor: u32) -> String {
    format!(
        "(i32.store (i32.const 512) (i32.const 2048)) (i32.store (i32.const 516) $length)
        (if (call $fd_write (i32.const {descriptor}) (i32.const 512) (i32.const 1) (i32.const 520)) (then unreachable))"
    )
}

async fn lines_of(data: &str, text: &str, change: impl FnOnce(&mut Limits)) -> Vec<String> {
    let lines = Arc::new(Lines::default());
    let mut options = ReceiverOptions { log: lines.clone(), ..options() };
    change(&mut options.limits);
    let receiver = receiver(&core_module(data, text), options);
    assert_eq!(receiver.receive(message("m", 1, "")).await, Ok(()));
    let lines = lines.0.lock();
    lines.clone()
}

#[tokio::test]
async fn standard_output_and_error_reach_the_log_line_by_line() {
    let lines = lines_of("one\ntwo\nrest", &format!("{} (call $ok)", print(1)), |_| ()).await;
    assert_eq!(lines, ["Stdout  one", "Stdout  two", "Stdout  rest"]);
    let lines = lines_of("oh\n", &format!("{} (call $ok)", print(2)), |_| ()).await;
    assert_eq!(lines, ["Stderr  oh"]);
}

#[tokio::test]
async fn a_line_written_in_two_pieces_is_one_line() {
    let lines = lines_of("half", &format!("{0} {0} (call $ok)", print(1)), |_| ()).await;
    assert_eq!(lines, ["Stdout  halfhalf"]);
}

#[tokio::test]
async fn logging_reaches_the_log_with_its_context() {
    let text = "(call $log (i32.const 3) (i32.const 2048) (i32.const 2) (i32.const 2051) (i32.const 4)) (call $ok)";
    assert_eq!(lines_of("db slow", text, |_| ()).await, ["Logging db slow"]);
}

#[tokio::test]
async fn lines_over_the_limit_are_counted_and_told() {
    let text = format!(
        "(loop $again {} (local.set $a (i32.add (local.get $a) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $a) (i32.const 10)))) (call $ok)",
        print(1)
    );
    let lines = lines_of("a line\n", &text, |limits| limits.log_lines = 3).await;
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[3].contains("7 ") && lines[3].contains("dropped"), "{lines:?}");
}

#[tokio::test]
async fn bytes_over_the_limit_are_counted_and_told() {
    let text = format!("{} (call $ok)", print(1));
    let narrow = |limits: &mut Limits| limits.log_bytes = "10B".parse().unwrap();
    let lines = lines_of("short\nmuch longer than that\n", &text, narrow).await;
    assert_eq!(lines[0], "Stdout  short");
    assert!(lines[1].contains("1 ") && lines[1].contains("dropped"), "{lines:?}");
}

#[tokio::test]
async fn lines_of_a_guest_that_crashed_are_in_the_log() {
    let lines = Arc::new(Lines::default());
    let options = ReceiverOptions { log: lines.clone(), ..options() };
    let core = core_module("last words", &format!("{} unreachable", print(2)));
    receiver(&core, options).receive(message("m", 1, "")).await.unwrap_err();
    assert_eq!(*lines.0.lock(), ["Stderr  last words"]);
}

#[tokio::test]
async fn a_guest_reads_the_configuration_of_its_receiver() {
    // Rejects with the value of the key at 2048; result<option<string>> has it at 12 and 16.
    let text = "(call $config (i32.const 2048) $length (i32.const 512))
        (call $fail (i32.const 2) (i32.load (i32.const 520)) (i32.load (i32.const 524)))";
    let mut options = options();
    options.config.insert("colour".to_owned(), "blue".to_owned());
    let error = receiver(&core_module("colour", text), options).receive(message("m", 1, "")).await.unwrap_err();
    assert_eq!(error.text(), "blue");
}

#[tokio::test]
async fn configuration_is_listed_in_the_same_order_every_time() {
    // Rejects with the first key of the list.
    let text = "(call $config_all (i32.const 512))
        (local.set $a (i32.load (i32.const 516)))
        (call $fail (i32.const 2) (i32.load (local.get $a)) (i32.load (i32.add (local.get $a) (i32.const 4))))";
    let mut options = options();
    for key in ["e", "d", "c", "b", "a", "f", "g", "h"] {
        options.config.insert(key.to_owned(), String::new());
    }
    let core = core_module("", text);
    for _ in 0..3 {
        let error = receiver(&core, options.clone()).receive(message("m", 1, "")).await.unwrap_err();
        assert_eq!(error.text(), "a");
    }
}
