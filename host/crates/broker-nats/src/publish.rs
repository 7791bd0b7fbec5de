//! Storing messages: sent one behind the other, confirmed together.

use async_nats::HeaderMap;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use futures::future::join_all;
use uuid::Uuid;
use wasmpost_delivery::{BrokerError, Receipt};
use wasmpost_msg::Publication;

use crate::envelope::Envelope;
use crate::error::{ANSWER_TIMEOUT, not_stored, unanswered};
use crate::link::Link;
use crate::names::partition;

/// The most messages, and bytes of bodies, that wait for their confirmation at a time.
const WINDOW_MESSAGES: usize = 256;
const WINDOW_BYTES: usize = 8 << 20;

/// A message on its way to a stream.
pub(crate) struct Outgoing {
    pub(crate) subject: String,
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) payload: Bytes,
}

/// The place at which a message was stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored {
    pub(crate) duplicate: bool,
}

impl Link {
    /// Stores messages in their order, and says which of them were there before. After an error some may be stored: who
    /// publishes them again under the same ids adds nothing twice.
    pub(crate) async fn publish(&self, outgoing: Vec<Outgoing>) -> Result<Vec<Stored>, BrokerError> {
        let mut stored = Vec::with_capacity(outgoing.len());
        let mut waiting = outgoing.into_iter().peekable();
        while waiting.peek().is_some() {
            let mut sent = Vec::new();
            let mut bytes = 0;
            while sent.len() < WINDOW_MESSAGES
                && (sent.is_empty() || bytes < WINDOW_BYTES)
                && let Some(Outgoing { subject, headers, payload }) = waiting.next()
            {
                bytes += payload.len();
                let mut message = PublishMessage::build().payload(payload);
                if let Some(headers) = headers {
                    message = message.headers(headers);
                }
                let sending = tokio::time::timeout(ANSWER_TIMEOUT, self.context.send_publish(subject.clone(), message));
                let confirming = match sending.await {
                    Ok(sending) => sending.map_err(|error| not_stored(&subject, error))?,
                    Err(_) => return Err(unanswered(format!("message was not stored under {subject}"))),
                };
                sent.push(async move { confirming.await.map_err(|error| not_stored(&subject, error)) });
            }
            for confirmed in join_all(sent).await {
                stored.push(Stored { duplicate: confirmed?.duplicate });
            }
        }
        Ok(stored)
    }

    /// Publishes to all queues that take from the topics. A topic that no queue takes from has one of its own name.
    pub(crate) async fn publish_to_topics(&self, publications: Vec<Publication>) -> Result<Vec<Receipt>, BrokerError> {
        publications.iter().try_for_each(|publication| self.admission.check(publication))?;
        let mut outgoing = Vec::new();
        let mut receipts = Vec::with_capacity(publications.len());
        for publication in publications {
            let id = publication.id.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
            let envelope = Envelope::of(&publication, id.clone());
            let queues = self.bindings.queues_of(&publication.topic);
            receipts.push((id, queues.len()));
            for queue in queues {
                outgoing.push(self.to_queue(&queue, &envelope, publication.body.clone())?);
            }
        }
        let mut stored = self.publish(outgoing).await?.into_iter();
        let receipt = |(id, copies)| {
            let mut duplicate = true;
            stored.by_ref().take(copies).for_each(|stored| duplicate &= stored.duplicate);
            Receipt { id, duplicate }
        };
        Ok(receipts.into_iter().map(receipt).collect())
    }

    /// A message for one queue. An id belongs to its topic, and each queue has its own copy.
    pub(crate) fn to_queue(&self, queue: &str, envelope: &Envelope, body: Bytes) -> Result<Outgoing, BrokerError> {
        let headers = envelope.headers(&format!("{queue} {} {}", envelope.topic, envelope.id))?;
        Ok(Outgoing { subject: self.subject(queue, envelope), headers: Some(headers), payload: body })
    }

    pub(crate) fn subject(&self, queue: &str, envelope: &Envelope) -> String {
        self.names.message_subject(queue, &partition(envelope.key.as_deref(), self.known.partitions))
    }
}
