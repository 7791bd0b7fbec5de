//! Says of every message that it can never be processed.

use exports::wasmpost::messaging::receiver::{Failure, Guest, Message};

wit_bindgen::generate!({ path: "../../../wit", world: "wasmpost:messaging/plugin", generate_all });

struct Rejecting;

export!(Rejecting);

impl Guest for Rejecting {
    fn receive(_: &Message) -> Result<(), Failure> {
        Err(Failure::Reject("not for me".into()))
    }
}
