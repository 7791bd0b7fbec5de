//! Asks for memory until it gets no more, then goes on without it.

use exports::wasmpost::messaging::receiver::{Failure, Guest, Message};

wit_bindgen::generate!({ path: "../../../wit", world: "wasmpost:messaging/plugin", generate_all });

struct Hungry;

export!(Hungry);

impl Guest for Hungry {
    fn receive(_: &Message) -> Result<(), Failure> {
        let mut held: Vec<Vec<u8>> = Vec::new();
        loop {
            held.push(std::hint::black_box(vec![1; 1 << 20]));
        }
    }
}
