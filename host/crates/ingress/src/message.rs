//! From a request to the messages that it carries.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName};
use wasmpost_msg::{Attributes, Publication};

use crate::events::{Event, Form, PREFIX, events, form, media_type};
use crate::options::{CloudEvents, EndpointOptions};
use crate::problem::Problem;
use crate::signature::Method;

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
static GITHUB_DELIVERY: HeaderName = HeaderName::from_static("x-github-delivery");
static WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
static OLDER_WEBHOOK_ID: HeaderName = HeaderName::from_static("svix-id");
/// The context attribute of events that belong together.
const PARTITION_KEY: &str = "ce-partitionkey";

/// How a request carries its messages, by its headers alone.
pub(crate) fn form_of(options: &EndpointOptions, headers: &HeaderMap) -> Result<Form, Problem> {
    let told = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let media_type = media_type(told.unwrap_or_default());
    let form = match options.cloud_events {
        CloudEvents::Ignored => Form::Plain,
        CloudEvents::Accepted | CloudEvents::Required => form(headers, &media_type)?,
    };
    if options.cloud_events == CloudEvents::Required && form == Form::Plain {
        return Err(Problem::unsupported_type("this is no CloudEvent; send one, in headers ce-… or in JSON"));
    }
    let is_taken = options.content_types.iter().any(|taken| taken.eq_ignore_ascii_case(&media_type));
    if matches!(form, Form::Plain | Form::Binary) && !options.content_types.is_empty() && !is_taken {
        let taken = options.content_types.join(", ");
        return Err(Problem::unsupported_type(format!("bodies of this type are not taken; send {taken}")));
    }
    Ok(form)
}

/// The messages that a request carries.
pub(crate) fn publications(
    options: &EndpointOptions,
    form: Form,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Vec<Publication>, Problem> {
    let mut attributes = taken(options, headers)?;
    if form == Form::Plain {
        if let Some(content_type) = headers.get(CONTENT_TYPE) {
            attributes.set("Content-Type", text(&CONTENT_TYPE, content_type)?);
        }
        let id = plain_id(options, headers)?;
        return Ok(vec![publication(options, headers, attributes, id, body)?]);
    }
    let message = |event: Event| {
        let mut all = attributes.clone();
        for (name, values) in event.attributes.iter_spelled() {
            all.set_all(name, values.to_vec());
        }
        publication(options, headers, all, Some(event.id), event.body)
    };
    events(form, headers, body)?.into_iter().map(message).collect()
}

fn publication(
    options: &EndpointOptions,
    headers: &HeaderMap,
    attributes: Attributes,
    id: Option<String>,
    body: Bytes,
) -> Result<Publication, Problem> {
    let key = match &options.key_header {
        // The attributes of an event are there, wherever they were written.
        Some(name) if name.as_str().starts_with(PREFIX) => attributes.get(name.as_str()).map(str::to_owned),
        Some(name) => headers.get(name).map(|value| text(name, value)).transpose()?,
        None => attributes.get(PARTITION_KEY).map(str::to_owned),
    };
    let plain = Publication::new(&options.topic, attributes, body);
    let key = key.filter(|key| !key.is_empty()).or_else(|| plain.key.clone());
    Ok(Publication { id, key, ..plain })
}

/// The headers that become attributes.
fn taken(options: &EndpointOptions, headers: &HeaderMap) -> Result<Attributes, Problem> {
    let mut attributes = Attributes::new();
    for (header, value) in headers {
        let name = options.headers.iter().find_map(|taken| taken.attribute(header));
        if let Some(name) = name {
            attributes.append(&name, text(header, value)?);
        }
    }
    Ok(attributes)
}

/// The id of a message that is no event: that of the header that is named, or one that its sender is known to send.
fn plain_id(options: &EndpointOptions, headers: &HeaderMap) -> Result<Option<String>, Problem> {
    if let Some(name) = &options.id_header {
        let value = headers.get(name).map(|value| text(name, value)).transpose()?.filter(|id| !id.is_empty());
        let missing = || Problem::bad_request(format!("header {name} is missing; send the id of the message in it"));
        return value.map(Some).ok_or_else(missing);
    }
    let names: &[&HeaderName] = match options.signature.method() {
        Method::GitHub => &[&GITHUB_DELIVERY, &IDEMPOTENCY_KEY],
        Method::Standard => &[&WEBHOOK_ID, &OLDER_WEBHOOK_ID, &IDEMPOTENCY_KEY],
        _ => &[&IDEMPOTENCY_KEY],
    };
    for name in names.iter().copied() {
        let Some(value) = headers.get(name) else { continue };
        let id = text(name, value)?;
        // The key is written as a text in quotes, or as it is.
        let unquoted = id.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).map(str::to_owned);
        return Ok(Some(unquoted.unwrap_or(id)).filter(|id| !id.is_empty()));
    }
    Ok(None)
}

fn text(name: &HeaderName, value: &http::HeaderValue) -> Result<String, Problem> {
    let fault = |_| Problem::bad_request(format!("header {name} is not text in UTF-8; send it as text"));
    std::str::from_utf8(value.as_bytes()).map(str::to_owned).map_err(fault)
}
