//! A message on the wire: its body as it is, and all that goes with it as JSON in one header.
//!
//! Attributes keep their order and spelling in it, which a table of AMQP does not. A header that would not fit into a
//! frame goes in front of the body, and a header then tells its length.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde::{Deserialize, Serialize};
use wasmpost_delivery::{Attempt, DeadLetter, Evidence, Timestamp};
use wasmpost_msg::{Attributes, Publication};

use crate::names::short;

/// A larger header goes in front of the body: a frame has 128 KiB unless the operator configured another size.
const HEADER_BYTES_MAX: usize = 48 << 10;
const HEADER: &str = "wasmpost";
const PREFIX: &str = "wasmpost-prefix-bytes";
/// Messages survive a restart of the broker.
const PERSISTENT: u8 = 2;

/// A message with all that is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    pub(crate) head: Head,
    pub(crate) body: Bytes,
}

/// The header of a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) id: String,
    pub(crate) topic: String,
    pub(crate) published_at: Timestamp,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) attributes: Vec<(String, Vec<String>)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) hops: u32,
    /// Deliveries of earlier copies; the broker counts those of this copy.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) deliveries: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) failures: u32,
    /// Not to be delivered before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) due: Option<Timestamp>,
    /// Not to be delivered after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) attempts: Vec<Attempt>,
    /// The reason for which it died and the time, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) death: Option<Death>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Death {
    pub(crate) at: Timestamp,
    pub(crate) evidence: Evidence,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Envelope {
    /// A message that is published at `now`.
    pub(crate) fn new(publication: Publication, now: Timestamp) -> Self {
        let Publication { topic, attributes, body, delay, id, key, ttl, hops } = publication;
        let spelled = attributes.iter_spelled().map(|(name, values)| (name.to_owned(), values.to_vec())).collect();
        let head = Head {
            id: id.unwrap_or_else(new_id),
            topic,
            published_at: now,
            attributes: spelled,
            key,
            hops,
            deliveries: 0,
            failures: 0,
            due: (!delay.is_zero()).then(|| now.after(delay)),
            expires: ttl.map(|ttl| now.after(ttl)),
            attempts: Vec::new(),
            death: None,
        };
        Self { head, body }
    }

    pub(crate) fn attributes(&self) -> Attributes {
        let mut attributes = Attributes::new();
        for (name, values) in &self.head.attributes {
            attributes.set_all(name, values.clone());
        }
        attributes
    }

    /// Adds what an attempt came to, and forgets the oldest beyond those that are kept.
    pub(crate) fn record(&mut self, attempt: Attempt) {
        attempt.add_to(&mut self.head.attempts);
    }

    /// The dead letter that this is, in the dead letters of `queue`.
    pub(crate) fn into_dead_letter(self, queue: &str, unexplained: impl FnOnce() -> Death) -> DeadLetter {
        let attributes = self.attributes();
        let Head { id, topic, published_at, key, hops, deliveries, attempts, death, .. } = self.head;
        let death = death.unwrap_or_else(unexplained);
        DeadLetter {
            id,
            queue: queue.to_owned(),
            topic,
            attributes,
            body: self.body,
            key,
            hops,
            deliveries,
            published_at,
            dead_at: death.at,
            evidence: death.evidence,
            attempts,
        }
    }

    /// The properties and body to send.
    pub(crate) fn encoded(&self) -> (BasicProperties, Bytes) {
        let json = serde_json::to_vec(&self.head).unwrap_or_default();
        let mut headers = FieldTable::default();
        let body = if json.len() <= HEADER_BYTES_MAX {
            headers.insert(short(HEADER), AMQPValue::LongString(json.into()));
            self.body.clone()
        } else {
            headers.insert(short(PREFIX), AMQPValue::LongLongInt(json.len() as i64));
            [json.as_slice(), &self.body].concat().into()
        };
        let mut properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_timestamp(self.head.published_at.0 / 1000)
            .with_headers(headers);
        if self.head.id.len() <= 255 {
            properties = properties.with_message_id(short(&self.head.id));
        }
        (properties, body)
    }

    /// The message that was sent, if a host sent it.
    pub(crate) fn decoded(properties: &BasicProperties, body: &Bytes) -> Option<Self> {
        let headers = properties.headers().as_ref()?.inner();
        if let Some(json) = headers.get(HEADER).and_then(AMQPValue::as_long_string) {
            let head = serde_json::from_slice(json.as_bytes()).ok()?;
            return Some(Self { head, body: body.clone() });
        }
        let length = headers.get(PREFIX).and_then(AMQPValue::as_long_long_int)?;
        let length = usize::try_from(length).ok()?;
        let head = serde_json::from_slice(body.get(..length)?).ok()?;
        Some(Self { head, body: body.slice(length..) })
    }
}

/// An id that nothing else has, and that sorts by its time.
pub(crate) fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(value: &str) -> (Envelope, Envelope, usize) {
        let mut attributes = Attributes::new();
        attributes.append("x-ODD", value);
        attributes.append("x-ODD", "two");
        let sent =
            Envelope::new(Publication::new("orders", attributes, vec![0, 159, 255]), Timestamp(1_700_000_000_000));
        let (properties, body) = sent.encoded();
        let got = Envelope::decoded(&properties, &body).unwrap();
        (sent, got, body.len())
    }

    #[test]
    fn a_message_comes_as_it_went() {
        let (sent, got, bytes) = round_trip("one");
        assert_eq!(
            (got.head.attributes, &got.head.id, got.body.as_ref()),
            (sent.head.attributes, &sent.head.id, &[0, 159, 255][..])
        );
        assert_eq!(bytes, 3, "the body is nothing but the body");
    }

    #[test]
    fn attributes_that_fit_into_no_frame_go_with_the_body() {
        let (sent, got, bytes) = round_trip(&"x".repeat(200_000));
        assert!(bytes > 200_000);
        assert_eq!((got.head.attributes, got.body), (sent.head.attributes, sent.body));
    }
}
