//! Messages that another client of RabbitMQ published: its headers become attributes.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::AMQPValue;
use wasmpost_delivery::Timestamp;
use wasmpost_msg::attribute_fault;

use crate::envelope::{Envelope, Head};
use crate::names;

/// The origin of a message.
pub(crate) struct Origin<'a> {
    pub(crate) exchange: &'a str,
    pub(crate) queue: &'a str,
    pub(crate) now: Timestamp,
}

/// The message, and whether it had an id. Without one it gets one that is kept nowhere yet.
pub(crate) fn envelope(properties: &BasicProperties, body: Bytes, origin: &Origin<'_>) -> (Envelope, bool) {
    let id = properties.message_id().as_ref().map(|id| id.as_str().to_owned()).filter(|id| !id.is_empty());
    let had_id = id.is_some();
    let head = Head {
        id: id.unwrap_or_else(crate::envelope::new_id),
        topic: names::topic_of(origin.exchange).unwrap_or(origin.queue).to_owned(),
        published_at: properties.timestamp().map_or(origin.now, |seconds| Timestamp(seconds.saturating_mul(1000))),
        attributes: attributes(properties),
        key: None,
        hops: 0,
        deliveries: 0,
        failures: 0,
        due: None,
        expires: None,
        attempts: Vec::new(),
        death: None,
    };
    (Envelope { head, body }, had_id)
}

fn attributes(properties: &BasicProperties) -> Vec<(String, Vec<String>)> {
    let mut all = Vec::new();
    let told = [("Content-Type", properties.content_type()), ("Content-Encoding", properties.content_encoding())];
    for (name, value) in told {
        all.extend(value.as_ref().map(|value| (name.to_owned(), vec![value.to_string()])));
    }
    let headers = properties.headers().iter().flat_map(|table| table.inner());
    for (name, value) in headers.filter(|(name, _)| !is_brokers_own(name.as_str())) {
        let values = match value {
            AMQPValue::FieldArray(values) => values.as_slice().iter().filter_map(text).collect(),
            value => text(value).into_iter().collect::<Vec<_>>(),
        };
        let fits = !values.is_empty() && values.iter().all(|value| attribute_fault(name.as_str(), value).is_none());
        if fits {
            all.push((name.to_string(), values));
        }
    }
    all
}

/// Whether the broker adds this header itself, so that it does not belong to the message.
fn is_brokers_own(name: &str) -> bool {
    let added = ["x-death", "x-delivery-count", "x-acquired-count", "x-opt-"];
    added.iter().any(|prefix| name.starts_with(prefix))
        || name.starts_with("x-first-death")
        || name.starts_with("x-last-death")
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok().map(str::to_owned),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        AMQPValue::Boolean(truth) => Some(truth.to_string()),
        AMQPValue::Float(number) => Some(number.to_string()),
        AMQPValue::Double(number) => Some(number.to_string()),
        number => whole_number(number).map(|number| number.to_string()),
    }
}

/// A whole number of any width.
pub(crate) fn whole_number(value: &AMQPValue) -> Option<i64> {
    Some(match value {
        AMQPValue::ShortShortInt(number) => i64::from(*number),
        AMQPValue::ShortShortUInt(number) => i64::from(*number),
        AMQPValue::ShortInt(number) => i64::from(*number),
        AMQPValue::ShortUInt(number) => i64::from(*number),
        AMQPValue::LongInt(number) => i64::from(*number),
        AMQPValue::LongUInt(number) => i64::from(*number),
        AMQPValue::LongLongInt(number) => *number,
        _ => return None,
    })
}
