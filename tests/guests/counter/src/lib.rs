//! Counts its calls and publishes the count: always 1, for no instance is used twice.

use std::sync::atomic::{AtomicU32, Ordering};

use exports::wasmpost::messaging::receiver::{Failure, Guest, Message};
use wasmpost::messaging::topic;

wit_bindgen::generate!({ path: "../../../wit", world: "wasmpost:messaging/plugin", generate_all });

struct Counter;

export!(Counter);

impl Guest for Counter {
    fn receive(_: &Message) -> Result<(), Failure> {
        static CALLS: AtomicU32 = AtomicU32::new(0);
        let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
        topic::publish("out", &[], calls.to_string().as_bytes())
            .map_err(|error| Failure::Retry(format!("not published: {error:?}")))
    }
}
