//! How much the host works in the calls of guests: as much as it is given, up to a bound, and at the guest's expense.
//!
//! Work is counted, in calls, bytes and elements of lists, so that these tests come to the same on any machine.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

mod calling;
mod guest;

use std::sync::Arc;

use calling::rows::{OUTPUT, PUBLISHING, READING, REQUESTING, Row, WORLDS, filled};
use calling::{ENDLESS, command, plugin};
use guest::{Lines, core_module, message, options, sandbox};
use wasmpost_msg::{Attributes, Message, Reason, ReceiveError, Receiver, Usage};
use wasmpost_sandbox::{ReceiverOptions, Sandbox, WasmReceiver};

/// CPU time enough for any call in a build for tests, and so little that calls without end are soon over.
const ENOUGH: &str = "20s";
const LITTLE: &str = "50ms";

/// A message of a size: as long an id, as many attributes of one letter under a name, and as long a body as it may have.
fn sized(size: u32) -> Message {
    let few = (size & !ENDLESS).min(1023) as usize;
    let mut message =
        message(&"x".repeat(few.min(512)), size, vec![b'x'; few.max((size & !ENDLESS) as usize).min(4 << 20)]);
    (0..few).for_each(|_| message.attributes.append("A", "x"));
    message
}

/// The result of a guest, and its usage.
async fn received(receiver: &WasmReceiver, message: Message) -> (Result<(), ReceiveError>, Usage) {
    let context = message.context.clone();
    let result = receiver.receive(message).await;
    (result, context.usage())
}

/// A receiver with as many pairs of configuration as the size has it, and this much CPU time.
fn receiver_of(sandbox: &Arc<Sandbox>, core: &[u8], size: u32, cpu: &str) -> WasmReceiver {
    let mut options = ReceiverOptions { log: Arc::new(Lines::default()), ..options() };
    options.grants.publish.push("orders".parse().unwrap());
    options.limits.cpu = cpu.parse().unwrap();
    options.config = (0..(size & !ENDLESS).min(1023)).map(|number| (format!("{number:04}"), "x".to_owned())).collect();
    WasmReceiver::new(sandbox.clone(), sandbox.load(core).unwrap(), options).unwrap()
}

async fn hold_to(rows: &[Row]) {
    let sandbox = sandbox();
    let mut faults = Vec::new();
    for row in rows {
        if let Err(fault) = held(&sandbox, row).await {
            faults.push(format!("{}: {fault}", row.name));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// The fault of a function of the host, if it has one.
async fn held(sandbox: &Arc<Sandbox>, row: &Row) -> Result<(), String> {
    let core = plugin(&filled(row.before), &filled(row.call));
    let step = row.longest / 3;
    let run = async |size: u32, cpu: &str| received(&receiver_of(sandbox, &core, size, cpu), sized(size)).await;
    let mut work = Vec::new();
    for size in [step, 2 * step, 3 * step] {
        let (result, usage) = run(size, ENOUGH).await;
        result.map_err(|error| format!("size {size} is not let through: {error}"))?;
        work.push(usage.host_work);
    }
    if [work[1] - work[0], work[2] - work[1]] != [row.slope * u64::from(step); 2] {
        return Err(format!("work does not grow by {} with each more of {step}: {work:?}", row.slope));
    }
    if row.beyond > 0 {
        work.push(run(row.beyond, ENOUGH).await.1.host_work);
    }
    if work.iter().any(|work| *work > row.most) {
        return Err(format!("work is more than {}: {work:?}", row.most));
    }
    let cpu = if row.ends == Reason::CpuLimit { LITTLE } else { ENOUGH };
    let (result, usage) = run((3 * step) | ENDLESS, cpu).await;
    match result {
        Err(error) if error.reason() == row.ends && usage.host_work >= work[2] => Ok(()),
        ended => Err(format!("without end it ends with {ended:?} and work of {}", usage.host_work)),
    }
}

#[tokio::test]
async fn reading_is_work_in_line_with_what_is_read_and_paid_by_the_guest() {
    hold_to(READING).await;
}

#[tokio::test]
async fn publishing_is_work_in_line_with_what_is_published_and_paid_by_the_guest() {
    hold_to(PUBLISHING).await;
}

#[tokio::test]
async fn output_and_polling_are_work_in_line_with_what_is_given_and_paid_by_the_guest() {
    hold_to(OUTPUT).await;
}

#[tokio::test]
async fn fields_of_http_are_work_in_line_with_what_is_given_and_paid_by_the_guest() {
    hold_to(REQUESTING).await;
}

#[tokio::test]
async fn calls_of_other_worlds_are_work_in_line_with_what_is_given_and_paid_by_the_guest() {
    hold_to(WORLDS).await;
}

#[tokio::test]
async fn arguments_and_environment_of_a_command_are_work_in_line_with_its_attributes_and_paid_by_it() {
    let sandbox = sandbox();
    let call = "(call $environment (i32.const 512)) (call $arguments (i32.const 512))";
    let values = |count: usize| (0..count).map(|_| ("A".to_owned(), "x")).collect::<Attributes>();
    let names = |count: usize| (0..count).map(|number| (format!("A{number:04}"), "x")).collect::<Attributes>();
    // A value is made into a part of a variable, `, x`; a name of five bytes with its value into `MSG_A0000` with it.
    let kinds: [(&dyn Fn(usize) -> Attributes, u64); 2] = [(&values, 2 + 3), (&names, 7 + 11)];
    for (attributes, slope) in kinds {
        let mut work = Vec::new();
        for count in [341, 682, 1023] {
            let message = Message { attributes: attributes(count), ..message("m", 1, "") };
            let (result, usage) = received(&receiver_of(&sandbox, &command(call, false), 0, ENOUGH), message).await;
            assert_eq!(result, Ok(()));
            work.push(usage.host_work);
        }
        assert_eq!([work[1] - work[0], work[2] - work[1]], [slope * 341; 2], "{work:?}");
        let message = Message { attributes: attributes(1023), ..message("m", 1, "") };
        let (result, _) = received(&receiver_of(&sandbox, &command(call, true), 0, LITTLE), message).await;
        assert_eq!(result.unwrap_err().reason(), Reason::CpuLimit);
    }
}

#[tokio::test]
async fn the_text_of_a_failure_is_work_in_line_with_its_length_up_to_what_a_call_may_pass() {
    let body = "(drop (memory.grow (i32.const 128)))
        (call $fail (i32.const 0) (i32.const 16384) (call $attempt (local.get $message)))";
    let sandbox = sandbox();
    let core = core_module("", body);
    let work = async |bytes: u32| {
        let (result, usage) = received(&receiver_of(&sandbox, &core, 0, ENOUGH), message("m", bytes, "")).await;
        (result.unwrap_err().reason(), usage.host_work)
    };
    // One more is for the call that tells the attempt.
    for bytes in [1 << 20, 2 << 20, 5 << 20] {
        assert_eq!(work(bytes).await, (Reason::Failed, u64::from(bytes) + 1));
    }
    assert_eq!(work(6 << 20).await, (Reason::ResultTooLarge, 1));
}
