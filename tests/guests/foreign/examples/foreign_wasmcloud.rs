//! A component for wasmCloud: sends each message on to `out`.

use exports::wasmcloud::messaging::handler::{BrokerMessage, Guest};
use foreign::{Wish, wish};
use wasmcloud::messaging::consumer;

wit_bindgen::generate!({
    path: "../../../host/crates/sandbox/wit/wasmcloud-messaging",
    world: "wasmcloud:messaging/messaging",
    generate_all,
});

struct Handler;

export!(Handler);

impl Guest for Handler {
    fn handle_message(message: BrokerMessage) -> Result<(), String> {
        if message.body == b"request" {
            return consumer::request("asked", b"", 1_000).map(drop);
        }
        if let Wish::Retry | Wish::Reject = wish(&message.body) {
            return Err("not now".into());
        }
        let body = [message.subject.as_bytes(), b": ", &message.body].concat();
        consumer::publish(&BrokerMessage { subject: "out".into(), body, reply_to: message.reply_to })
    }
}
