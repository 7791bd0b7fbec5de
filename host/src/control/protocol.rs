//! The protocol of the socket: frames with a length, each one JSON value.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tokio::net::UnixStream;
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use wasmpost_delivery::{BrokerError, BrokerErrorKind, DeadLetter, DeadLetterFilter, Listed, QueueStats, Receipt};
use wasmpost_msg::{Attributes, Publication, chain};

use super::pipe::PipeOrder;
use crate::gate::Action;
use crate::kept::KeptLine;
use crate::view::{ReceiverStatus, Reloaded, TenantStatus};

/// The largest frame, in bytes: room for the largest body and attributes in base64.
const FRAME_BYTES_MAX: usize = 128 << 20;

/// How many bytes tell the length of a frame.
pub(super) const LENGTH_BYTES: usize = 4;

/// A request of a client.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Publish(Vec<WirePublication>),
    Stats,
    List {
        filter: WireFilter,
        skip: usize,
        max: usize,
    },
    Show {
        filter: WireFilter,
        skip: usize,
        max: usize,
    },
    Redrive(WireFilter),
    Purge(WireFilter),
    Tenants,
    Receivers,
    Reload,
    /// Lines of a receiver's component behind a number.
    Logs {
        receiver: String,
        after: u64,
        max: usize,
    },
    /// From here on the connection is that of a pipe.
    Pipe(PipeOrder),
}

impl Request {
    /// The action that the gate is asked about.
    pub(super) fn action(&self) -> Action {
        match self {
            Self::Publish(_) => Action::Publish,
            Self::Stats => Action::SeeQueues,
            Self::List { .. } => Action::SeeLetters,
            Self::Show { .. } => Action::SeeBodies,
            Self::Redrive(_) => Action::Redrive,
            Self::Purge(_) => Action::Purge,
            Self::Tenants => Action::SeeTenants,
            Self::Receivers => Action::SeeReceivers,
            Self::Reload => Action::Reload,
            Self::Logs { .. } => Action::SeeLogs,
            Self::Pipe(_) => Action::Pipe,
        }
    }

    /// The possible effects of a request that was not answered, and what to do then.
    pub(super) fn left_open(&self) -> String {
        let text = match self {
            Self::Publish(publications) => {
                return ids(publications.iter().map(|publication| publication.id.as_deref()));
            }
            Self::Stats
            | Self::List { .. }
            | Self::Show { .. }
            | Self::Tenants
            | Self::Receivers
            | Self::Logs { .. } => "try again",
            Self::Redrive(_) => "dead letters may have been redriven, list what is left of them",
            Self::Purge(_) => "dead letters may have been purged, list what is left of them",
            Self::Pipe(_) => "messages may have been moved, pipe again to move the others",
            Self::Reload => "components may have been replaced, reload again to see",
        };
        text.to_owned()
    }

    /// The same for messages that were to be published.
    pub(super) fn ids_of(publications: &[Publication]) -> String {
        ids(publications.iter().map(|publication| publication.id.as_deref()))
    }
}

fn ids<'a>(mut all: impl ExactSizeIterator<Item = Option<&'a str>>) -> String {
    if all.len() == 1
        && let Some(Some(id)) = all.next()
    {
        return format!("message {id:?} may have been stored, publish it again with the same id");
    }
    let without = all.filter(Option::is_none).count();
    let doubled = if without > 0 { ", without an id it may be stored twice" } else { "" };
    format!("messages may have been stored, publish them again with the same ids{doubled}")
}

/// An answer of the host.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Response {
    Published(Vec<Receipt>),
    Stats(Vec<QueueStats>),
    Listed(Vec<Listed>),
    DeadLetters(Vec<WireDeadLetter>),
    Count(u64),
    Tenants(Vec<TenantStatus>),
    Receivers(Vec<ReceiverStatus>),
    Reloaded(Vec<Reloaded>),
    /// None where there is no such receiver.
    Logs(Option<Vec<KeptLine>>),
    Error {
        kind: String,
        text: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WirePublication {
    topic: String,
    attributes: Attributes,
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    body: Bytes,
    delay: Duration,
    id: Option<String>,
    key: Option<String>,
    ttl: Option<Duration>,
    /// How many receivers it came through, for one that is moved.
    #[serde(default)]
    hops: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireDeadLetter {
    letter: DeadLetter,
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    body: Bytes,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireFilter {
    ids: Vec<String>,
    queue: Option<String>,
    reason: Option<String>,
}

pub(super) type Frames = Framed<UnixStream, LengthDelimitedCodec>;

pub(super) fn frames(stream: UnixStream) -> Frames {
    LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES_MAX).new_framed(stream)
}

/// The text of a value; an error where it is too long for a frame.
/// The same on a stream from which the length of the first frame was read already.
pub(super) fn frames_after(length: [u8; LENGTH_BYTES], stream: UnixStream) -> Frames {
    let mut parts = frames(stream).into_parts();
    parts.read_buf.extend_from_slice(&length);
    Framed::from_parts(parts)
}

pub(super) fn encode(value: &impl Serialize) -> Result<Bytes, BrokerError> {
    let text = serde_json::to_vec(value).map_err(|error| broken(&error.to_string()))?;
    if text.len() > FRAME_BYTES_MAX {
        let bytes = text.len();
        let fault = format!("{bytes} bytes at once are more than fit through a host's socket; ask for less at a time");
        return Err(BrokerError::new(BrokerErrorKind::Invalid, fault));
    }
    Ok(text.into())
}

pub(super) fn decode<T: DeserializeOwned>(frame: &[u8]) -> Result<T, BrokerError> {
    serde_json::from_slice(frame).map_err(|error| broken(&error.to_string()))
}

pub(super) fn broken(fault: &str) -> BrokerError {
    let context = format!("host did not speak the same language, is it of another version? {fault}");
    BrokerError::new(BrokerErrorKind::Unavailable, context)
}

impl From<Publication> for WirePublication {
    fn from(publication: Publication) -> Self {
        let Publication { topic, attributes, body, delay, id, key, ttl, hops } = publication;
        Self { topic, attributes, body, delay, id, key, ttl, hops }
    }
}

impl From<WirePublication> for Publication {
    fn from(wire: WirePublication) -> Self {
        let WirePublication { topic, attributes, body, delay, id, key, ttl, hops } = wire;
        Self { topic, attributes, body, delay, id, key, ttl, hops }
    }
}

impl From<DeadLetter> for WireDeadLetter {
    fn from(letter: DeadLetter) -> Self {
        let body = letter.body.clone();
        Self { letter, body }
    }
}

impl From<WireDeadLetter> for DeadLetter {
    fn from(wire: WireDeadLetter) -> Self {
        Self { body: wire.body, ..wire.letter }
    }
}

impl From<&DeadLetterFilter> for WireFilter {
    fn from(filter: &DeadLetterFilter) -> Self {
        let reason = filter.reason.map(|reason| reason.as_str().to_owned());
        Self { ids: filter.ids.clone(), queue: filter.queue.clone(), reason }
    }
}

impl TryFrom<WireFilter> for DeadLetterFilter {
    type Error = BrokerError;

    fn try_from(wire: WireFilter) -> Result<Self, BrokerError> {
        let reason = wire.reason.map(|word| word.parse()).transpose();
        let reason = reason.map_err(|fault: String| BrokerError::new(BrokerErrorKind::Invalid, fault))?;
        Ok(Self { ids: wire.ids, queue: wire.queue, reason })
    }
}

impl From<BrokerError> for Response {
    fn from(error: BrokerError) -> Self {
        Self::Error { kind: format!("{:?}", error.kind()), text: chain(&error).to_string() }
    }
}

impl Response {
    /// The same response, or the error that it tells of.
    pub(super) fn into_result(self) -> Result<Self, BrokerError> {
        let Self::Error { kind, text } = self else { return Ok(self) };
        let kinds = [
            BrokerErrorKind::Full,
            BrokerErrorKind::Limit,
            BrokerErrorKind::Invalid,
            BrokerErrorKind::NotFound,
            BrokerErrorKind::Corrupt,
            BrokerErrorKind::Closed,
            BrokerErrorKind::Unsupported,
        ];
        let found = kinds.into_iter().find(|known| format!("{known:?}") == kind);
        Err(BrokerError::new(found.unwrap_or(BrokerErrorKind::Unavailable), text))
    }
}

fn to_base64<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    STANDARD.decode(String::deserialize(deserializer)?).map(Bytes::from).map_err(de::Error::custom)
}
