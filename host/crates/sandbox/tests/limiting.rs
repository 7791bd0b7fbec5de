//! Guests that want more than they may have.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

mod guest;

use std::time::Duration;

use guest::{core_module, core_module_with, message, options, receive, receiver};
use wasmpost_msg::{Body, Disposition, Reason, Receiver};
use wasmpost_sandbox::{Limits, MemoryBudget, ReceiverOptions};

/// Options whose limits are changed; a CPU limit that keeps tests short.
fn limited(change: impl FnOnce(&mut Limits)) -> ReceiverOptions {
    let mut options = options();
    options.limits.cpu = "200ms".parse().unwrap();
    change(&mut options.limits);
    options
}

#[tokio::test]
async fn an_endless_loop_ends_at_the_cpu_limit() {
    let core = core_module("", "(loop $again (br $again)) unreachable");
    let message = message("m", 1, "");
    let context = message.context.clone();
    let error = receiver(&core, limited(|_| ())).receive(message).await.unwrap_err();
    assert_eq!((error.disposition(), error.reason()), (Disposition::Retry, Reason::CpuLimit));
    assert!(context.usage().cpu >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_loop_of_cheap_calls_to_the_host_ends_at_the_cpu_limit() {
    let core = core_module("", "(loop $again (drop (call $attempt (local.get $message))) (br $again)) unreachable");
    assert_eq!(receive(&core, limited(|_| ())).await.unwrap_err().reason(), Reason::CpuLimit);
}

#[tokio::test]
async fn neighbours_run_while_a_guest_loops() {
    let endless = receiver(&core_module("", "(loop $again (br $again)) unreachable"), limited(|_| ()));
    let quick = receiver(&core_module("", "(call $ok)"), options());
    let looping = endless.receive(message("m", 1, ""));
    tokio::pin!(looping);
    // The loop yields: on this one thread, a hundred messages of the neighbour are done before it ends.
    let neighbour = async {
        for _ in 0..10 {
            assert_eq!(quick.receive(message("m", 1, "")).await, Ok(()));
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        _ = &mut looping => panic!("the neighbour waited for the loop to end"),
        () = neighbour => {}
    }
}

#[tokio::test]
async fn growing_memory_without_end_is_told_as_the_memory_limit() {
    let body = "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    let message = message("m", 1, "");
    let context = message.context.clone();
    let error = receiver(&core_module("", body), options()).receive(message).await.unwrap_err();
    assert_eq!((error.disposition(), error.reason()), (Disposition::Retry, Reason::MemoryLimit));
    let peak = context.usage().memory_peak_bytes;
    assert!((48 << 20..=64 << 20).contains(&peak), "{peak}");
}

#[tokio::test]
async fn a_failure_after_refused_memory_is_told_as_the_memory_limit() {
    let body = "(drop (memory.grow (i32.const 2000))) (call $fail (i32.const 0) (i32.const 2048) $length)";
    let error = receive(&core_module("no room", body), options()).await.unwrap_err();
    assert_eq!((error.disposition(), error.reason()), (Disposition::Retry, Reason::MemoryLimit));
}

#[tokio::test]
async fn memory_that_others_of_the_tenant_hold_is_no_fault_of_the_guest() {
    // 40 MiB each, 64 MiB together.
    let grow = "(if (i32.eq (memory.grow (i32.const 640)) (i32.const -1)) (then unreachable))";
    let budget = MemoryBudget::new("64MiB".parse().unwrap());
    let options =
        || ReceiverOptions { memory: Some(budget.clone()), ..limited(|limits| limits.cpu = "60s".parse().unwrap()) };
    let holding = receiver(&core_module("", &format!("{grow} (loop $again (br $again)) unreachable")), options());
    let asking = receiver(&core_module("", &format!("{grow} (call $ok)")), options());
    {
        let mut held = std::pin::pin!(holding.receive(message("m", 1, "")));
        while budget.held_bytes() < 40 << 20 {
            assert!(poll_once(held.as_mut()).await.is_none());
        }
        let error = asking.receive(message("m", 1, "")).await.unwrap_err();
        assert_eq!((error.disposition(), error.reason()), (Disposition::GiveBack, Reason::HostBusy));
    }
    assert_eq!(budget.held_bytes(), 0, "what a delivery held is free when it has ended");
    assert_eq!(asking.receive(message("m", 1, "")).await, Ok(()));
}

#[tokio::test]
async fn tables_count_as_memory_of_the_tenant() {
    let budget = MemoryBudget::new("1MiB".parse().unwrap());
    let tables = |elements: u32| {
        let grow = format!(
            "(if (i32.eq (table.grow $wide (ref.null func) (i32.const {elements})) (i32.const -1)) (then unreachable))"
        );
        core_module_with("(table $wide 1 funcref)", "", &format!("{grow} (call $ok)"))
    };
    let mut options = limited(|limits| limits.table_elements = 200_000);
    options.memory = Some(budget.clone());
    assert_eq!(receive(&tables(10_000), options.clone()).await, Ok(()));
    // Nobody else holds anything: it is this guest that wants too much.
    let error = receive(&tables(100_000), options).await.unwrap_err();
    assert_eq!((error.disposition(), error.reason()), (Disposition::Retry, Reason::MemoryLimit));
    assert_eq!(budget.held_bytes(), 0);
}

/// Polls a future once.
async fn poll_once<T>(mut future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn a_guest_that_makes_do_without_refused_memory_is_ok() {
    assert_eq!(receive(&core_module("", "(drop (memory.grow (i32.const 2000))) (call $ok)"), options()).await, Ok(()));
}

#[tokio::test]
async fn a_guest_that_starts_with_too_much_memory_is_told_so() {
    let core = core_module("", "(call $ok)");
    let error = receive(&core, limited(|limits| limits.memory = "32KiB".parse().unwrap())).await.unwrap_err();
    assert_eq!(error.reason(), Reason::MemoryLimit);
}

#[tokio::test]
async fn growing_a_table_without_end_is_told_as_the_table_limit() {
    let items = "(table $wide 1 funcref)";
    let body = "(loop $again (br_if $again (i32.ne
        (table.grow $wide (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable";
    let error = receive(&core_module_with(items, "", body), options()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::TableLimit);
}

#[tokio::test]
async fn leaked_handles_are_told_as_the_handle_limit() {
    let body = "(loop $again
            (call $new_writer (i32.const 2048) $length (i32.const 512))
            (br_if $again (i32.eqz (i32.load8_u (i32.const 512)))))
        (call $ok)";
    let mut options = options();
    options.grants.publish.push("orders".parse().unwrap());
    let error = receive(&core_module("orders", body), options).await.unwrap_err();
    assert_eq!((error.disposition(), error.reason()), (Disposition::Retry, Reason::HandleLimit));
}

#[tokio::test]
async fn a_body_that_is_too_large_never_reaches_the_guest() {
    let limits = |limits: &mut Limits| limits.body = "8B".parse().unwrap();
    let receiver = receiver(&core_module("", "unreachable"), limited(limits));
    let bodies = [Body::from("nine bytes"), Body::from_reader(&b"nine bytes"[..])];
    for body in bodies {
        let error = receiver.receive(message("m", 1, body)).await.unwrap_err();
        assert_eq!((error.disposition(), error.reason()), (Disposition::Reject, Reason::BodyTooLarge));
    }
}

#[tokio::test]
async fn a_long_error_text_is_cut_between_characters() {
    let text = "ß".repeat(3000);
    let core = core_module(&text, "(call $fail (i32.const 0) (i32.const 2048) $length)");
    let error = receive(&core, limited(|limits| limits.error_text = "101B".parse().unwrap())).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Failed);
    assert!(error.text().starts_with("ßßß") && error.text().len() <= 110, "{}", error.text().len());
}

#[tokio::test]
async fn an_enormous_error_text_is_refused() {
    // 60 MiB of zeroes, which are valid text.
    let body = "(drop (memory.grow (i32.const 960))) (call $fail (i32.const 0) (i32.const 4096) (i32.const 62914560))";
    let error = receive(&core_module("", body), options()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::ResultTooLarge);
}

#[tokio::test]
async fn a_pointer_outside_of_memory_is_a_trap() {
    let error =
        receive(&core_module("", "(call $fail (i32.const 0) (i32.const -16) (i32.const 100))"), options()).await;
    assert_eq!(error.unwrap_err().reason(), Reason::Trap);
}

#[tokio::test]
async fn a_call_that_takes_too_long_times_out() {
    // It yields all the time, so that the clock of the host can run; its own CPU limit is far away.
    let limits = |limits: &mut Limits| {
        limits.wall = "100ms".parse().unwrap();
        limits.cpu = "60s".parse().unwrap();
    };
    let core = core_module("", "(loop $again (br $again)) unreachable");
    let error = receive(&core, limited(limits)).await.unwrap_err();
    assert_eq!((error.disposition(), error.reason()), (Disposition::Retry, Reason::Timeout));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_comes_times_out() {
    let (reader, _writer) = tokio::io::duplex(16);
    let receiver = receiver(&core_module("", "(call $ok)"), options());
    let error = receiver.receive(message("m", 1, Body::from_reader(reader))).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Timeout);
}
