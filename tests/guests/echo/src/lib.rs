//! Publishes the message that it got to the topic `to` of its configuration, after counting to `spins`.

use exports::wasmpost::messaging::receiver::{Failure, Guest, Message};
use wasi::config::store;
use wasmpost::messaging::topic;

wit_bindgen::generate!({ path: "../../../wit", world: "wasmpost:messaging/plugin", generate_all });

struct Echo;

export!(Echo);

impl Guest for Echo {
    fn receive(message: &Message) -> Result<(), Failure> {
        let spins = configured("spins").and_then(|text| text.parse().ok()).unwrap_or(0);
        for spin in 0..spins {
            std::hint::black_box::<u64>(spin);
        }
        let to = configured("to").unwrap_or_else(|| "out".into());
        topic::publish(&to, &message.attributes(), &message.body())
            .map_err(|error| Failure::Retry(format!("not published: {error:?}")))
    }
}

fn configured(key: &str) -> Option<String> {
    store::get(key).ok().flatten()
}
