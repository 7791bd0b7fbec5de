//! Sorts the webhooks of GitHub: each is published to the topic of its event, `github.<event>`.
//!
//! A body that is no JSON object, or a message without its event, can never be processed: it is rejected. A webhook of
//! a `fork` is put off once, as a receiver does that waits for another system. A body with `"poison": true` panics, to
//! show what becomes of a guest that traps.

use serde_json::Value;

use exports::wasmpost::messaging::receiver::{Failure, Guest, Message};
use wasi::config::store;
use wasi::logging::logging::{self, Level};
use wasmpost::messaging::topic::{self, PublishError};

wit_bindgen::generate!({ path: "../../wit", world: "wasmpost:messaging/plugin", generate_all });

/// How long a webhook of a fork is put off unless the configuration says otherwise, in milliseconds.
const RETRY_AFTER_MS: u64 = 2_000;

/// Attributes that go on to the next topic.
const FORWARDED: &[&str] = &["Content-Type", "X-Github-Delivery", "X-Github-Event"];

struct WebhookTriage;

export!(WebhookTriage);

impl Guest for WebhookTriage {
    fn receive(message: &Message) -> Result<(), Failure> {
        // A panic ends the instance without a word; the log then tells why.
        std::panic::set_hook(Box::new(|panic| logging::log(Level::Error, "panic", &panic.to_string())));

        let event = event(message)?;
        let body = message.body();
        let webhook = parse(&body)?;
        assert!(webhook.get("poison") != Some(&Value::Bool(true)), "poison message");
        if event == "fork" && message.attempt() == 1 {
            return Err(Failure::RetryAfter((retry_after()?, "fork is not ready yet".into())));
        }

        let topic = format!("github.{event}");
        topic::publish(&topic, &attributes(message, &webhook), &body).map_err(refused)?;
        logging::log(Level::Info, "triage", &format!("{} to {topic}", message.id()));
        Ok(())
    }
}

/// The event of the webhook, such as `pull_request`, which becomes part of a topic's name.
fn event(message: &Message) -> Result<String, Failure> {
    let Some(event) = message.attribute("X-Github-Event") else {
        return Err(Failure::Reject("attribute X-Github-Event is missing".into()));
    };
    if event.is_empty() || !event.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(Failure::Reject(format!("attribute X-Github-Event is no event: {event:?}")));
    }
    Ok(event.to_ascii_lowercase())
}

fn parse(body: &[u8]) -> Result<Value, Failure> {
    match serde_json::from_slice(body) {
        Ok(webhook @ Value::Object(_)) => Ok(webhook),
        Ok(_) => Err(Failure::Reject("body is JSON, but no object".into())),
        Err(error) => Err(Failure::Reject(format!("body is not JSON: {error}"))),
    }
}

/// What later receivers can tell webhooks apart by without parsing them again.
fn attributes(message: &Message, webhook: &Value) -> Vec<(String, Vec<String>)> {
    let mut attributes: Vec<_> = message.attributes();
    attributes.retain(|(name, _)| FORWARDED.contains(&name.as_str()));
    let found = [("Action", webhook.pointer("/action")), ("Repository", webhook.pointer("/repository/full_name"))];
    for (name, value) in found {
        if let Some(value) = value.and_then(Value::as_str) {
            attributes.push((name.into(), vec![value.into()]));
        }
    }
    attributes
}

/// In nanoseconds.
fn retry_after() -> Result<u64, Failure> {
    let given = store::get("retry_after_ms").map_err(|error| Failure::Retry(format!("configuration: {error:?}")))?;
    let millis = match given {
        None => RETRY_AFTER_MS,
        Some(text) => text.parse().map_err(|_| Failure::Reject(format!("retry_after_ms is no number: {text:?}")))?,
    };
    Ok(millis.saturating_mul(1_000_000))
}

/// A topic that was not granted will be granted by an operator, or never: either way it is not the message's fault.
fn refused(error: PublishError) -> Failure {
    Failure::Retry(format!("not published: {error:?}"))
}
