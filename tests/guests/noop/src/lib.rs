//! Does nothing, well.

use exports::wasmpost::messaging::receiver::{Failure, Guest, Message};

wit_bindgen::generate!({ path: "../../../wit", world: "wasmpost:messaging/plugin", generate_all });

struct Noop;

export!(Noop);

impl Guest for Noop {
    fn receive(_: &Message) -> Result<(), Failure> {
        Ok(())
    }
}
