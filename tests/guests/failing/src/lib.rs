//! Always asks for another delivery.

use exports::wasmpost::messaging::receiver::{Failure, Guest, Message};

wit_bindgen::generate!({ path: "../../../wit", world: "wasmpost:messaging/plugin", generate_all });

struct Failing;

export!(Failing);

impl Guest for Failing {
    fn receive(message: &Message) -> Result<(), Failure> {
        Err(Failure::Retry(format!("attempt {} failed", message.attempt())))
    }
}
