//! A component for `wasi:messaging`: sends each message on to `out`, with its metadata.

use exports::wasi::messaging::incoming_handler::{Guest, Message};
use foreign::{Wish, wish};
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
        let data = message.data();
        if data == b"request" {
            let client = Client::connect("default")?;
            return request_reply::request(&client, "asked", &message, None).map(drop);
        }
        if data == b"reply" {
            return request_reply::reply(&message, Message::new(b"answer"));
        }
        if let Wish::Retry | Wish::Reject = wish(&data) {
            return Err(Error::Other("not now".into()));
        }
        let out = Message::new(&data);
        if let Some(content_type) = message.content_type() {
            out.set_content_type(&content_type);
        }
        out.set_metadata(&message.metadata().unwrap_or_default());
        out.add_metadata("From", &message.topic().unwrap_or_default());
        out.remove_metadata("Secret");
        producer::send(&Client::connect("default")?, "out", out)
    }
}
