//! Instances that process more than one message.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod guest;

use std::sync::Arc;

use guest::{core_module_with, message, options, sandbox};
use parking_lot::Mutex;
use wasmpost_msg::{Reason, Receiver};
use wasmpost_sandbox::{
    Limits, LoadedComponent, LogRecord, LogSink, MemoryBudget, ReceiverOptions, Sandbox, WasmReceiver,
};

/// Lines of the log, with the messages that they belong to.
#[derive(Default)]
struct Lines(Mutex<Vec<(String, String)>>);

impl LogSink for Lines {
    fn record(&self, record: &LogRecord<'_>) {
        self.0.lock().push((record.message_id.to_owned(), record.text.to_owned()));
    }
}

/// Counts the messages of its instance: it fails with a text that is as long as its count, and processes the others.
const COUNTING: &str = "(global.set $count (i32.add (global.get $count) (i32.const 1)))
    (call $body (local.get $message) (i32.const 1200))
    (if (i32.eqz (i32.load (i32.const 1204))) (then (return (call $ok))))
    (if (i32.eq (i32.load8_u (i32.load (i32.const 1200))) (i32.const 116)) (then (unreachable)))
    (call $fail (i32.const 0) (i32.const 2048) (global.get $count))";
const COUNT: &str = "(global $count (mut i32) (i32.const 0))";

fn counting(sandbox: &Sandbox) -> LoadedComponent {
    sandbox.load(&core_module_with(COUNT, "xxxxxxxxxxxxxxxx", COUNTING)).unwrap()
}

fn reusing(reuse: u32) -> ReceiverOptions {
    ReceiverOptions { reuse, ..options() }
}

/// How many messages the instance had that processes the next one. It is dropped by being asked.
async fn count(receiver: &WasmReceiver) -> usize {
    receiver.receive(message("asked", 1, "?")).await.unwrap_err().text().len()
}

async fn process(receiver: &WasmReceiver, messages: usize) {
    for _ in 0..messages {
        assert_eq!(receiver.receive(message("m", 1, "")).await, Ok(()));
    }
}

#[tokio::test]
async fn each_message_has_a_fresh_instance_unless_told_otherwise() {
    let sandbox = sandbox();
    let receiver = WasmReceiver::new(sandbox.clone(), counting(&sandbox), options()).unwrap();
    process(&receiver, 3).await;
    assert_eq!(count(&receiver).await, 1);
}

#[tokio::test]
async fn an_instance_is_used_for_as_many_messages_as_it_may_be() {
    let sandbox = sandbox();
    let receiver = WasmReceiver::new(sandbox.clone(), counting(&sandbox), reusing(4)).unwrap();
    for (messages, expected) in [(0, 1), (1, 2), (3, 4), (4, 1), (5, 2)] {
        process(&receiver, messages).await;
        assert_eq!(count(&receiver).await, expected, "after {messages} messages");
    }
}

#[tokio::test]
async fn an_instance_that_returned_an_error_or_trapped_is_never_used_again() {
    let sandbox = sandbox();
    let receiver = WasmReceiver::new(sandbox.clone(), counting(&sandbox), reusing(100)).unwrap();
    process(&receiver, 3).await;
    assert_eq!(receiver.receive(message("m", 1, "trap")).await.unwrap_err().reason(), Reason::Trap);
    assert_eq!(count(&receiver).await, 1);
    process(&receiver, 3).await;
    assert_eq!((count(&receiver).await, count(&receiver).await), (4, 1));
}

#[tokio::test]
async fn an_instance_that_holds_more_than_half_of_its_memory_is_not_used_again() {
    let sandbox = sandbox();
    let growing = format!("(drop (memory.grow (i32.const 1))) {COUNTING}");
    let loaded = sandbox.load(&core_module_with(COUNT, "xxxxxxxxxxxxxxxx", &growing)).unwrap();
    let budget = MemoryBudget::new("4MiB".parse().unwrap());
    let limits = Limits { memory: "1MiB".parse().unwrap(), ..Limits::default() };
    let memory = Some(Arc::clone(&budget));
    let receiver = WasmReceiver::new(sandbox, loaded, ReceiverOptions { limits, memory, ..reusing(100) }).unwrap();
    let mut held = Vec::new();
    for _ in 0..20 {
        process(&receiver, 1).await;
        held.push(budget.held_bytes() >> 16);
    }
    assert_eq!(held.iter().max(), Some(&8), "{held:?}");
    assert_eq!(held.iter().filter(|pages| **pages == 0).count(), 2, "{held:?}");
}

#[tokio::test]
async fn receivers_of_one_component_do_not_share_instances() {
    let sandbox = sandbox();
    let loaded = counting(&sandbox);
    let one = WasmReceiver::new(sandbox.clone(), loaded.clone(), reusing(100)).unwrap();
    let other = WasmReceiver::new(sandbox.clone(), loaded, reusing(100)).unwrap();
    process(&one, 3).await;
    assert_eq!((count(&other).await, count(&one).await), (1, 4));
}

#[tokio::test]
async fn idle_instances_give_way_to_a_receiver_that_has_none() {
    let sandbox = sandbox();
    let loaded = counting(&sandbox);
    let receivers = [(); 9].map(|()| WasmReceiver::new(sandbox.clone(), loaded.clone(), reusing(100)).unwrap());
    // The sandbox has four places.
    for receiver in &receivers {
        process(receiver, 2).await;
    }
    assert_eq!(count(&receivers[8]).await, 3, "the last is still warm");
    assert_eq!(count(&receivers[0]).await, 1, "the first gave its place up");
}

#[tokio::test]
async fn a_receiver_that_is_gone_leaves_no_instance_behind() {
    let sandbox = sandbox();
    let budget = MemoryBudget::new("1MiB".parse().unwrap());
    let held = |reuse| ReceiverOptions { memory: Some(Arc::clone(&budget)), ..reusing(reuse) };
    let receiver = WasmReceiver::new(sandbox.clone(), counting(&sandbox), held(100)).unwrap();
    process(&receiver, 1).await;
    assert!(budget.held_bytes() > 0);
    drop(receiver);
    assert_eq!(budget.held_bytes(), 0);
}

#[tokio::test]
async fn a_tenant_gets_the_memory_back_that_its_idle_instances_hold() {
    let sandbox = sandbox();
    let budget = MemoryBudget::new("100KiB".parse().unwrap());
    let held = || ReceiverOptions { memory: Some(Arc::clone(&budget)), ..reusing(100) };
    let idle = WasmReceiver::new(sandbox.clone(), counting(&sandbox), held()).unwrap();
    let wanting = WasmReceiver::new(sandbox.clone(), counting(&sandbox), held()).unwrap();
    process(&idle, 1).await;
    let error = wanting.receive(message("m", 1, "")).await.unwrap_err();
    assert_eq!(error.reason(), Reason::HostBusy, "the delivery is given back once");
    process(&wanting, 1).await;
}

#[tokio::test]
async fn lines_that_are_left_open_belong_to_the_message_that_wrote_them() {
    let lines = Arc::new(Lines::default());
    let print = "(i32.store (i32.const 1200) (i32.const 2048)) (i32.store (i32.const 1204) (i32.const 4))
        (drop (call $fd_write (i32.const 1) (i32.const 1200) (i32.const 1) (i32.const 1212)))
        (call $ok)";
    let sandbox = sandbox();
    let loaded = sandbox.load(&core_module_with("", "line", print)).unwrap();
    let options = ReceiverOptions { log: lines.clone(), ..reusing(100) };
    let receiver = WasmReceiver::new(sandbox, loaded, options).unwrap();
    for id in ["one", "two"] {
        assert_eq!(receiver.receive(message(id, 1, "")).await, Ok(()));
    }
    drop(receiver);
    assert_eq!(*lines.0.lock(), [("one".to_owned(), "line".to_owned()), ("two".to_owned(), "line".to_owned())]);
}

#[tokio::test]
async fn every_message_of_an_instance_may_log_as_much_as_the_limit_says() {
    let lines = Arc::new(Lines::default());
    let limits = Limits { log_lines: 1, ..Limits::default() };
    let log = "(call $log (i32.const 2) (i32.const 2048) (i32.const 0) (i32.const 2048) (i32.const 4)) (call $ok)";
    let sandbox = sandbox();
    let loaded = sandbox.load(&core_module_with("", "line", log)).unwrap();
    let receiver = WasmReceiver::new(sandbox, loaded, ReceiverOptions { log: lines.clone(), limits, ..reusing(100) });
    let receiver = receiver.unwrap();
    process(&receiver, 3).await;
    assert_eq!(lines.0.lock().len(), 3);
}
