//! Publishes a message, then panics.

use exports::wasmpost::messaging::receiver::{Failure, Guest, Message};
use wasmpost::messaging::topic;

wit_bindgen::generate!({ path: "../../../wit", world: "wasmpost:messaging/plugin", generate_all });

struct Trapping;

export!(Trapping);

impl Guest for Trapping {
    fn receive(message: &Message) -> Result<(), Failure> {
        drop(topic::publish("out", &[], b"never to be seen"));
        panic!("attempt {}", message.attempt());
    }
}
