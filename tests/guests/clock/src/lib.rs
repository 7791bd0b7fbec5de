//! Publishes to `out` the time of day, and numbers from each source of random numbers, and how many messages the
//! instance had before.

use std::sync::atomic::{AtomicU32, Ordering};

use exports::wasmpost::messaging::receiver::{Failure, Guest, Message};
use wasi::clocks::wall_clock;
use wasi::random::{insecure, insecure_seed, random};
use wasmpost::messaging::topic;

wit_bindgen::generate!({ path: ["../../../wit", "wit"], world: "wasmpost:clock/clock", generate_all });

static BEFORE: AtomicU32 = AtomicU32::new(0);

struct Clock;

export!(Clock);

impl Guest for Clock {
    fn receive(_: &Message) -> Result<(), Failure> {
        let now = wall_clock::now();
        let before = BEFORE.fetch_add(1, Ordering::Relaxed);
        let numbers = [random::get_random_u64(), insecure::get_insecure_random_u64(), insecure_seed::insecure_seed().0];
        let attributes = [
            ("Now", format!("{}.{:09}", now.seconds, now.nanoseconds)),
            ("Random", format!("{numbers:?}")),
            ("Before", before.to_string()),
        ];
        let attributes: Vec<_> = attributes.map(|(name, value)| (name.to_owned(), vec![value])).into();
        topic::publish("out", &attributes, b"").map_err(|error| Failure::Retry(format!("not published: {error:?}")))
    }
}
