//! Never returns.

use exports::wasmpost::messaging::receiver::{Failure, Guest, Message};

wit_bindgen::generate!({ path: "../../../wit", world: "wasmpost:messaging/plugin", generate_all });

struct Looping;

export!(Looping);

impl Guest for Looping {
    fn receive(_: &Message) -> Result<(), Failure> {
        loop {
            std::hint::black_box(());
        }
    }
}
