//! Sorts the webhooks of GitHub: each is published to the topic of its event, `github.<event>`.
//!
//! A body that is no JSON object, or a message without its event, can never be processed: it is rejected. Bodies of the
//! type `application/octet-stream` go on as they are. A webhook of a `fork` is put off once, as a receiver does that
//! waits for another system. A body with `"poison": true` panics, to show what becomes of a guest that traps.

use std::time::Duration;

use serde_json::{Map, Value};
use wasmpost_guest::{Attributes, Failure, Message, config, log, publish, receiver};

/// How long a webhook of a fork is put off unless the configuration says otherwise, in milliseconds.
const RETRY_AFTER_MS: u64 = 2_000;

/// Attributes that go on to the next topic.
const FORWARDED: &[&str] = &["Content-Type", "X-Github-Delivery", "X-Github-Event", "X-Github-Tag"];

receiver!(triage);

fn triage(mut message: Message) -> Result<(), Failure> {
    let event = event(&message)?;
    let body = message.body();
    let webhook = match message.attribute("Content-Type").as_deref() {
        Some("application/octet-stream") => Map::new(),
        _ => parse(&body)?,
    };
    assert!(webhook.get("poison") != Some(&Value::Bool(true)), "poison message");
    if event == "fork" && message.attempt() == 1 {
        return Err(Failure::retry_after(retry_after()?, "fork is not ready yet"));
    }

    let topic = format!("github.{event}");
    // A topic that was not granted will be granted by an operator, or never: it is not the message's fault, so that the
    // retry which an error becomes is right.
    publish(&topic, &attributes(&message, &webhook), &body)?;
    log::info("triage", format_args!("{} to {topic}", message.id()));
    Ok(())
}

/// The event of the webhook, such as `pull_request`, which becomes part of a topic's name.
fn event(message: &Message) -> Result<String, Failure> {
    let Some(event) = message.attribute("X-Github-Event") else {
        return Err(Failure::reject("attribute X-Github-Event is missing"));
    };
    if event.is_empty() || !event.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(Failure::reject(format!("attribute X-Github-Event is no event: {event:?}")));
    }
    Ok(event.to_ascii_lowercase())
}

fn parse(body: &[u8]) -> Result<Map<String, Value>, Failure> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(webhook)) => Ok(webhook),
        Ok(_) => Err(Failure::reject("body is JSON, but no object")),
        Err(error) => Err(Failure::reject(format!("body is not JSON: {error}"))),
    }
}

/// The attributes by which later receivers can tell webhooks apart without parsing them again.
fn attributes(message: &Message, webhook: &Map<String, Value>) -> Attributes {
    let mut attributes = message.attributes();
    attributes.retain(|(name, _)| FORWARDED.contains(&name.as_str()));
    let repository = webhook.get("repository").and_then(|repository| repository.get("full_name"));
    for (name, value) in [("Action", webhook.get("action")), ("Repository", repository)] {
        if let Some(value) = value.and_then(Value::as_str) {
            attributes.push((name.into(), vec![value.into()]));
        }
    }
    attributes
}

fn retry_after() -> Result<Duration, Failure> {
    let millis = match config("retry_after_ms")? {
        None => RETRY_AFTER_MS,
        Some(text) => text.parse().map_err(|_| Failure::reject(format!("retry_after_ms is no number: {text:?}")))?,
    };
    Ok(Duration::from_millis(millis))
}
