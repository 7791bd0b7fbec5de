//! Fails until it was asked more often than `fail_attempts` of its configuration, then publishes the attempt.

use exports::wasmpost::messaging::receiver::{Failure, Guest, Message};
use wasi::config::store;
use wasmpost::messaging::topic;

wit_bindgen::generate!({ path: "../../../wit", world: "wasmpost:messaging/plugin", generate_all });

struct Flaky;

export!(Flaky);

impl Guest for Flaky {
    fn receive(message: &Message) -> Result<(), Failure> {
        let fails = configured("fail_attempts").and_then(|text| text.parse().ok()).unwrap_or(1);
        let attempt = message.attempt();
        if attempt <= fails {
            return Err(Failure::Retry(format!("attempt {attempt} failed")));
        }
        topic::publish("out", &message.attributes(), attempt.to_string().as_bytes())
            .map_err(|error| Failure::Retry(format!("not published: {error:?}")))
    }
}

fn configured(key: &str) -> Option<String> {
    store::get(key).ok().flatten()
}
