//! A component of two worlds: its operator has to say which one is meant.

use exports::wasmpost::messaging::receiver::{Failure, Message};

wit_bindgen::generate!({
    path: ["../../../wit", "wit"],
    world: "wasmpost:foreign/several",
    generate_all,
});

struct Several;

export!(Several);

impl exports::wasi::cli::run::Guest for Several {
    fn run() -> Result<(), ()> {
        Err(())
    }
}

impl exports::wasmpost::messaging::receiver::Guest for Several {
    fn receive(_: &Message) -> Result<(), Failure> {
        Ok(())
    }
}
