//! A receiver for the Redis trigger of Spin 4: fails when the message says so.

use exports::spin::redis::inbound_redis::{Error, Guest, Payload};

wit_bindgen::generate!({ path: ["../../../wit/async", "wit"], world: "wasmpost:wasi3/redis", generate_all });

struct Redis;

export!(Redis);

impl Guest for Redis {
    async fn handle_message(message: Payload) -> Result<(), Error> {
        match &*message {
            b"fail" => Err(Error::Other("told to fail".into())),
            b"type" => Err(Error::TypeError),
            _ => Ok(()),
        }
    }
}
