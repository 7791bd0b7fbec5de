//! A dead letter as the API shows it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use wasmpost_delivery::{Attempt, DeadLetter, Listed};

/// A dead letter without its body. Its texts may come from guests and publishers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Letter {
    /// The id of the message.
    pub(crate) id: String,
    /// The queue that it died in.
    pub(crate) queue: String,
    /// The topic that it was written to.
    pub(crate) topic: String,
    /// The ordering key.
    pub(crate) key: Option<String>,
    /// How many receivers it came through.
    pub(crate) hops: u32,
    /// How often it was delivered.
    pub(crate) deliveries: u32,
    /// When it was published, in milliseconds since 1970.
    pub(crate) published_at_ms: u64,
    /// When it died.
    pub(crate) dead_at_ms: u64,
    /// The attributes, each with its values.
    pub(crate) attributes: BTreeMap<String, Vec<String>>,
    /// How large the body is, in bytes.
    pub(crate) body_bytes: u64,
    /// The kind of failure.
    pub(crate) reason: &'static str,
    /// The text of the last error.
    pub(crate) error: String,
    /// The backtrace of the guest, one frame a line.
    pub(crate) backtrace: Option<String>,
    /// The receiver that failed.
    pub(crate) receiver: Option<String>,
    /// The digest of its component.
    pub(crate) component: Option<String>,
    /// The version that the component says of itself.
    pub(crate) component_version: Option<String>,
    /// CPU time of the last attempt, in microseconds.
    pub(crate) cpu_us: u64,
    /// Time of the last attempt, in microseconds.
    pub(crate) wall_us: u64,
    /// The most memory that the last attempt held, in bytes.
    pub(crate) memory_peak_bytes: u64,
    /// The last attempts, oldest first.
    pub(crate) attempts: Vec<LetterAttempt>,
}

/// An attempt and its outcome.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct LetterAttempt {
    /// The number of the delivery, from 1.
    pub(crate) number: u32,
    /// When it began, in milliseconds since 1970.
    pub(crate) started_at_ms: u64,
    /// How long it took, in microseconds.
    pub(crate) duration_us: u64,
    /// `nack` for another delivery, `reject` for none.
    pub(crate) verdict: String,
    /// The time until the message could be delivered again, in microseconds.
    pub(crate) delay_us: Option<u64>,
    /// The kind of failure.
    pub(crate) reason: &'static str,
    /// The beginning of the error.
    pub(crate) error: String,
}

impl From<Listed> for Letter {
    fn from(Listed { letter, body_bytes }: Listed) -> Self {
        let DeadLetter { id, queue, topic, attributes, key, hops, deliveries, evidence, .. } = letter;
        let attributes = attributes.iter().map(|(name, values)| (name.to_owned(), values.to_vec())).collect();
        Self {
            id,
            queue,
            topic,
            key,
            hops,
            deliveries,
            published_at_ms: letter.published_at.0,
            dead_at_ms: letter.dead_at.0,
            attributes,
            body_bytes,
            reason: evidence.reason.as_str(),
            error: evidence.error,
            backtrace: evidence.backtrace,
            receiver: evidence.receiver,
            component: evidence.component,
            component_version: evidence.component_version,
            cpu_us: evidence.cpu.as_micros() as u64,
            wall_us: evidence.wall.as_micros() as u64,
            memory_peak_bytes: evidence.memory_peak_bytes,
            attempts: letter.attempts.into_iter().map(LetterAttempt::from).collect(),
        }
    }
}

impl From<Attempt> for LetterAttempt {
    fn from(attempt: Attempt) -> Self {
        Self {
            number: attempt.number,
            started_at_ms: attempt.started_at.0,
            duration_us: attempt.duration.as_micros() as u64,
            verdict: attempt.verdict.to_string(),
            delay_us: attempt.delay.map(|delay| delay.as_micros() as u64),
            reason: attempt.reason.as_str(),
            error: attempt.error,
        }
    }
}
