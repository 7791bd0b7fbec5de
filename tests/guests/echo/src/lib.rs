//! Publishes the message that it got to the topic `to` of its configuration.

use exports::wasmpost::messaging::receiver::{Failure, Guest, Message};
use wasi::config::store;
use wasmpost::messaging::topic;

wit_bindgen::generate!({ path: "../../../wit", world: "wasmpost:messaging/plugin", generate_all });

struct Echo;

export!(Echo);

impl Guest for Echo {
    fn receive(message: &Message) -> Result<(), Failure> {
        let to = configured("to").unwrap_or_else(|| "out".into());
        topic::publish(&to, &message.attributes(), &message.body())
            .map_err(|error| Failure::Retry(format!("not published: {error:?}")))
    }
}

fn configured(key: &str) -> Option<String> {
    store::get(key).ok().flatten()
}
