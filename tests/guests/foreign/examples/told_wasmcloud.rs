//! Sends and answers as the message tells it to, for wasmCloud.

use exports::wasmcloud::messaging::handler::{BrokerMessage, Guest};
use foreign::Told;
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
        let mut told = Told::new(message.body);
        for _ in 0..told.byte() % 4 {
            let reply_to = (told.byte() % 2 == 0).then(|| told.text());
            let _ = consumer::publish(&BrokerMessage { subject: told.topic(), body: told.bytes(), reply_to });
        }
        if told.byte() % 2 == 0 { Ok(()) } else { Err(told.text()) }
    }
}
