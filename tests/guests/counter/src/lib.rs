//! Counts its calls and publishes the count, which is more than 1 only if an instance is used again.

use std::sync::atomic::{AtomicU32, Ordering};

use wasmpost_guest::{Failure, Message, publish, receiver};

receiver!(receive);

fn receive(_: Message) -> Result<(), Failure> {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
    Ok(publish("out", &[], calls.to_string())?)
}
