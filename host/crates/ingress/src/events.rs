//! CloudEvents over HTTP: one in headers and body, one in JSON, or a batch in JSON. All of them become messages of one form:
//! context attributes as attributes `ce-…`, data as the body.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use sha2::{Digest, Sha256};
use wasmpost_msg::Attributes;

use crate::problem::Problem;
use crate::spans::{elements, members};

/// The prefix of headers and attributes with what is known of an event.
pub(crate) const PREFIX: &str = "ce-";
/// The most events of one batch.
const EVENTS_MAX: usize = 1000;
/// The most context attributes of one event.
const ATTRIBUTES_MAX: usize = 100;
/// The longest id of a message, in bytes.
const ID_BYTES_MAX: usize = 512;
const VERSION: &str = "1.0";
const STRUCTURED: &str = "application/cloudevents+json";
const BATCHED: &str = "application/cloudevents-batch+json";

/// How a request carries events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// It carries none.
    Plain,
    /// One, in headers and body.
    Binary,
    /// One, in JSON.
    Structured,
    /// Any number, in a list in JSON.
    Batched,
}

/// An event, in the form of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// The id of the message, which source and id of the event are together.
    pub(crate) id: String,
    pub(crate) attributes: Attributes,
    pub(crate) body: Bytes,
}

/// The media type of a header's value: without parameters, in small letters.
pub(crate) fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The form of a request, by its media type and its headers.
pub(crate) fn form(headers: &HeaderMap, media_type: &str) -> Result<Form, Problem> {
    match media_type {
        STRUCTURED => Ok(Form::Structured),
        BATCHED => Ok(Form::Batched),
        other if other.starts_with("application/cloudevents") => Err(Problem::unsupported_type(format!(
            "events in this format are not taken; send {STRUCTURED}, {BATCHED}, or the event in headers ce-…"
        ))),
        _ if headers.contains_key("ce-specversion") => Ok(Form::Binary),
        _ => Ok(Form::Plain),
    }
}

/// The events of a request that carries some.
pub(crate) fn events(form: Form, headers: &HeaderMap, body: Bytes) -> Result<Vec<Event>, Problem> {
    let text = || std::str::from_utf8(&body).map_err(|_| Problem::bad_request("the body is not text in UTF-8"));
    match form {
        Form::Plain => Ok(Vec::new()),
        Form::Binary => Ok(vec![binary(headers, body)?]),
        Form::Structured => Ok(vec![structured(text()?).map_err(|fault| bad(&fault))?]),
        Form::Batched => {
            let all =
                elements(text()?).map_err(|fault| Problem::bad_request(format!("the batch is no list: {fault}")))?;
            if all.len() > EVENTS_MAX {
                let detail = format!("the batch has more than {EVENTS_MAX} events; send fewer at a time");
                return Err(Problem::new(http::StatusCode::PAYLOAD_TOO_LARGE, detail));
            }
            let event = |(at, text): (usize, &&str)| {
                structured(text).map_err(|fault| Problem::bad_request(format!("event {at} of the batch: {fault}")))
            };
            all.iter().enumerate().map(event).collect()
        }
    }
}

fn bad(fault: &str) -> Problem {
    Problem::bad_request(format!("the event cannot be taken: {fault}"))
}

fn binary(headers: &HeaderMap, body: Bytes) -> Result<Event, Problem> {
    let mut context = Context::default();
    for (header, value) in headers {
        let Some(name) = header.as_str().strip_prefix(PREFIX) else { continue };
        let text = value.to_str().ok().and_then(decoded);
        let text = text.ok_or_else(|| bad(&format!("{header} is not text, encoded as the binding for HTTP says")))?;
        context.add(name, text).map_err(|fault| bad(&fault))?;
    }
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    context.event(content_type, body).map_err(|fault| bad(&fault))
}

/// The value of a header: without quotes around it, and with what is encoded by percent signs decoded.
fn decoded(value: &str) -> Option<String> {
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let mut text = String::with_capacity(value.len());
    let mut letters = inner.unwrap_or(value).chars();
    while let Some(letter) = letters.next() {
        let escaped = if inner.is_some() && letter == '\\' { letters.next() } else { None };
        text.push(escaped.unwrap_or(letter));
    }
    percent_decode_str(&text).decode_utf8().ok().map(Into::into)
}

fn structured(text: &str) -> Result<Event, String> {
    let mut context = Context::default();
    let mut data: Option<&str> = None;
    let mut data_base64: Option<&str> = None;
    let mut content_type: Option<String> = None;
    for (name, value) in members(text)? {
        let parsed = || serde_json::from_str::<Value>(value).map_err(|error| format!("{name}: {error}"));
        match name.as_str() {
            "data" => data = Some(value),
            "data_base64" => data_base64 = Some(value),
            _ => {
                let text = match parsed()? {
                    Value::Null => continue,
                    Value::String(text) => text,
                    Value::Bool(is) => is.to_string(),
                    Value::Number(number) if number.is_i64() => number.to_string(),
                    _ => return Err(format!("{name} is neither text, nor a whole number, nor true or false")),
                };
                match name.as_str() {
                    "datacontenttype" => content_type = Some(text),
                    _ => context.add(&name, text)?,
                }
            }
        }
    }
    let body = match (data, data_base64) {
        (Some(_), Some(_)) => return Err("data and data_base64 are both there".to_owned()),
        (None, Some(encoded)) => {
            let encoded: String = serde_json::from_str(encoded).map_err(|_| "data_base64 is no text")?;
            STANDARD.decode(encoded).map_err(|_| "data_base64 is not Base64")?.into()
        }
        (Some(data), None) => {
            let type_of_data = content_type.get_or_insert_with(|| "application/json".to_owned());
            let text = if is_json(type_of_data) { None } else { serde_json::from_str::<String>(data).ok() };
            text.map_or_else(|| Bytes::copy_from_slice(data.as_bytes()), Bytes::from)
        }
        (None, None) => Bytes::new(),
    };
    context.event(content_type, body)
}

/// Whether a media type is one of JSON.
fn is_json(content_type: &str) -> bool {
    let media_type = media_type(content_type);
    media_type.ends_with("/json") || media_type.ends_with("+json")
}

/// The context attributes of an event.
#[derive(Default)]
struct Context(Attributes);

impl Context {
    fn add(&mut self, name: &str, value: String) -> Result<(), String> {
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !is_name {
            let shown: String = name.chars().take(40).collect();
            return Err(format!("the name {shown:?} is not made of small letters and digits"));
        }
        let attribute = format!("{PREFIX}{name}");
        if self.0.get(&attribute).is_some() {
            return Err(format!("{name} is there twice"));
        }
        if self.0.len() >= ATTRIBUTES_MAX {
            return Err(format!("it has more than {ATTRIBUTES_MAX} attributes"));
        }
        self.0.set(&attribute, value);
        Ok(())
    }

    fn event(mut self, content_type: Option<String>, body: Bytes) -> Result<Event, String> {
        let told = |name: &str| {
            let value = self.0.get(&format!("{PREFIX}{name}")).filter(|value| !value.is_empty());
            value.ok_or_else(|| format!("{name} is missing"))
        };
        if told("specversion")? != VERSION {
            return Err(format!("specversion is not {VERSION}"));
        }
        told("type")?;
        let id = message_id(told("source")?, told("id")?);
        if let Some(content_type) = content_type {
            self.0.set("Content-Type", content_type);
        }
        Ok(Event { id, attributes: self.0, body })
    }
}

/// The id of a message: source and id together name an event. A longer one is told by its hash.
fn message_id(source: &str, id: &str) -> String {
    let both = format!("{source}#{id}");
    if both.len() <= ID_BYTES_MAX {
        return both;
    }
    let digest = Sha256::digest(&both);
    digest.iter().fold(String::from("cloudevent-"), |hashed, byte| hashed + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests;
