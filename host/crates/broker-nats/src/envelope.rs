//! How a message of wasmpost is one of NATS: the body is the body, and one header tells the rest.

use std::time::Duration;

use async_nats::HeaderMap;
use serde::{Deserialize, Serialize};
use wasmpost_delivery::{Attempt, BrokerError, DeadLetter, Timestamp};
use wasmpost_msg::{Attributes, Publication, attribute_fault, chain};

use crate::error::invalid;

/// The header that tells what the server has no place for.
pub(crate) const HEADER: &str = "Wasmpost-Message";
/// The server takes headers of 64 KiB in all.
const HEADER_BYTES_MAX: usize = 60 << 10;

/// Everything about a message but its body.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) id: String,
    pub(crate) topic: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    #[serde(default)]
    pub(crate) hops: u32,
    /// Not to be delivered before so many milliseconds after it was stored.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) delay_ms: u64,
    /// Not to be delivered after so many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) attributes: Attributes,
    /// The time at which it was published, if that was before it was stored here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) published_at: Option<Timestamp>,
    /// How often it was delivered before it was redriven.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) deliveries: u32,
    /// The attempts before it was redriven.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) attempts: Vec<Attempt>,
}

impl Envelope {
    pub(crate) fn of(publication: &Publication, id: String) -> Self {
        Self {
            id,
            topic: publication.topic.clone(),
            key: publication.key.clone(),
            hops: publication.hops,
            delay_ms: millis(publication.delay),
            ttl_ms: publication.ttl.map(millis),
            attributes: publication.attributes.clone(),
            ..Self::default()
        }
    }

    /// The message of a dead letter, as it is put back.
    pub(crate) fn redriven(letter: &DeadLetter) -> Self {
        Self {
            id: letter.id.clone(),
            topic: letter.topic.clone(),
            key: letter.key.clone(),
            hops: letter.hops,
            attributes: letter.attributes.clone(),
            published_at: Some(letter.published_at),
            deliveries: letter.deliveries,
            attempts: letter.attempts.clone(),
            ..Self::default()
        }
    }

    /// The headers, with the id by which the server knows a second publication.
    pub(crate) fn headers(&self, deduplicate_by: &str) -> Result<HeaderMap, BrokerError> {
        let told = serde_json::to_string(self)
            .map_err(|error| invalid(format!("message {:?} cannot be told in a header", self.id)).caused_by(error))?;
        if told.len() + deduplicate_by.len() > HEADER_BYTES_MAX {
            let fault = format!(
                "topic {:?}: attributes take {} bytes in a header, which is over the limit of {HEADER_BYTES_MAX} bytes",
                self.topic,
                told.len()
            );
            return Err(invalid(fault));
        }
        let mut headers = HeaderMap::new();
        // JSON has no line feeds, and ids and names no control characters.
        headers.insert(HEADER, told);
        headers.insert(async_nats::header::NATS_MESSAGE_ID, deduplicate_by);
        Ok(headers)
    }

    /// Reads the headers. A message of another program has its headers as attributes, and an id of its own only if that
    /// program set one.
    pub(crate) fn read(headers: Option<&HeaderMap>, topic: &str, id: impl FnOnce() -> String) -> Self {
        let told = headers.and_then(|headers| headers.get(HEADER));
        let read = told.map(|told| serde_json::from_str(told.as_str()));
        if let Some(Ok(envelope)) = read {
            return envelope;
        }
        let given = headers.and_then(|headers| headers.get(async_nats::header::NATS_MESSAGE_ID));
        let given = given.map(|id| id.as_str().to_owned()).filter(|id| !id.is_empty());
        let id = given.unwrap_or_else(id);
        if let Some(Err(error)) = read {
            tracing::warn!(topic, id, error = %chain(&error), "header of a message cannot be read; taken as foreign");
        }
        Self { id, topic: topic.to_owned(), attributes: foreign(headers), ..Self::default() }
    }

    pub(crate) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms)
    }

    pub(crate) fn ttl(&self) -> Option<Duration> {
        self.ttl_ms.map(Duration::from_millis)
    }
}

/// The headers that are none of the server, and can be attributes.
fn foreign(headers: Option<&HeaderMap>) -> Attributes {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for (name, values) in headers.into_iter().flat_map(HeaderMap::iter) {
        let name: &str = name.as_ref();
        let is_of_server = name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("nats-"));
        pairs.extend(values.iter().map(|value| (name, value.as_str())).filter(|_| !is_of_server));
    }
    // The client has names in no order; values of one name keep theirs.
    pairs.sort_by_key(|(name, _)| *name);
    pairs.into_iter().filter(|(name, value)| attribute_fault(name, value).is_none()).collect()
}

/// Rounded up, so that nothing is delivered before its time.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
