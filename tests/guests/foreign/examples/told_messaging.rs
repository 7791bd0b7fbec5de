//! Sends and answers as the message tells it to, for `wasi:messaging`.

use exports::wasi::messaging::incoming_handler::{Guest, Message};
use foreign::Told;
use wasi::messaging::types::{Client, Error};
use wasi::messaging::{producer, request_reply};

wit_bindgen::generate!({
    path: "../../../host/crates/sandbox/wit/wasi-messaging",
    world: "wasi:messaging/messaging-request-reply",
    generate_all,
});

struct Handler;

export!(Handler);

impl Guest for Handler {
    fn handle(message: Message) -> Result<(), Error> {
        let mut told = Told::new(message.data());
        let client = Client::connect(&told.text())?;
        for _ in 0..told.byte() % 4 {
            let out = Message::new(&told.bytes());
            out.set_content_type(&told.text());
            out.set_metadata(&told.pairs());
            for (name, value) in told.pairs() {
                out.add_metadata(&name, &value);
                out.remove_metadata(&value);
            }
            let _ = match told.byte() % 3 {
                0 => request_reply::reply(&message, out),
                _ => producer::send(&client, &told.topic(), out),
            };
        }
        match told.byte() % 4 {
            0 => Err(Error::Other(told.text())),
            1 => Err(Error::Timeout),
            2 => Err(Error::PermissionDenied(told.text())),
            _ => Ok(()),
        }
    }
}
