//! The record of earlier attempts at a message, which is kept beside it, because JetStream counts deliveries only.

use async_nats::jetstream::stream::LastRawMessageErrorKind;
use serde::{Deserialize, Serialize};
use wasmpost_delivery::{Attempt, BrokerError};
use wasmpost_msg::chain;

use crate::error::{in_time, unavailable};
use crate::link::Link;
use crate::publish::Outgoing;

/// The record of earlier deliveries of a message.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The last delivery whose end is known, as the server counts.
    pub(crate) seen: u32,
    pub(crate) failures: u32,
    pub(crate) attempts: Vec<Attempt>,
    /// The subject under which this is stored.
    #[serde(skip)]
    pub(crate) at: Option<u64>,
}

impl Record {
    /// Adds what an attempt came to.
    pub(crate) fn failed(&mut self, attempt: Attempt) {
        self.failures = self.failures.saturating_add(1);
        attempt.add_to(&mut self.attempts);
    }

    /// The stored record of a message, if there is one.
    pub(crate) async fn read(link: &Link, queue: &str, sequence: u64) -> Result<Option<Self>, BrokerError> {
        let subject = link.names.attempts_subject(queue, sequence);
        let what = || format!("queue {queue:?}: earlier attempts at message {sequence} could not be read");
        let reading = async {
            match link.attempts.get_last_raw_message_by_subject(&subject).await {
                Ok(message) => Ok(Some(message)),
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
                Err(error) => Err(error),
            }
        };
        let Some(message) = in_time(what, reading).await? else { return Ok(None) };
        let mut record: Self = serde_json::from_slice(&message.payload).map_err(|error| unavailable(what(), error))?;
        record.at = Some(message.sequence);
        Ok(Some(record))
    }

    /// Stores it in place of what was stored before.
    pub(crate) async fn write(&self, link: &Link, queue: &str, sequence: u64) -> Result<(), BrokerError> {
        let what = || format!("queue {queue:?}: attempts at message {sequence} could not be stored");
        let payload = serde_json::to_vec(self).map_err(|error| unavailable(what(), error))?;
        let subject = link.names.attempts_subject(queue, sequence);
        link.publish(vec![Outgoing { subject, headers: None, payload: payload.into() }]).await.map(drop)
    }

    /// Deletes the record of a message that has ended. Records that are left over expire.
    pub(crate) async fn delete(link: &Link, queue: &str, sequence: u64) {
        let subject = link.names.attempts_subject(queue, sequence);
        let deleting = link.attempts.purge().filter(subject);
        if let Err(error) = in_time(|| "attempts could not be deleted".to_owned(), async { deleting.await }).await {
            tracing::debug!(queue, sequence, error = %chain(&error), "record of attempts was not deleted; it expires");
        }
    }
}
