//! Dead letters: a stream of their own, each with its evidence in front of its body.

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{DeleteMessageErrorKind, LastRawMessageErrorKind};
use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use wasmpost_delivery::{BrokerError, DeadLetter, DeadLetterFilter, DeadLetters, Listed, Page, Paged};

use crate::broker::NatsBroker;
use crate::envelope::Envelope;
use crate::error::{in_time, invalid};
use crate::link::Link;
use crate::publish::Outgoing;

/// How many bytes in front of the body tell the evidence.
const HEADER: &str = "Wasmpost-Evidence-Bytes";
/// The most bytes of a dead letter beside its body and attributes.
pub(crate) const EVIDENCE_BYTES_MAX: usize = 96 << 10;

/// Stores a dead letter. One of the same message within the window is the same letter.
pub(crate) async fn store(link: &Link, letter: DeadLetter, sequence: u64) -> Result<(), BrokerError> {
    let subject = link.names.dead_subject(&letter.queue);
    let id = format!("{} {sequence}", letter.queue);
    let told = told(&letter, link.client.max_payload())?;
    let mut headers = HeaderMap::new();
    headers.insert(HEADER, told.len().to_string());
    headers.insert(async_nats::header::NATS_MESSAGE_ID, id.as_str());
    let mut payload = BytesMut::with_capacity(told.len() + letter.body.len());
    payload.put_slice(&told);
    payload.put_slice(&letter.body);
    link.publish(vec![Outgoing { subject, headers: Some(headers), payload: payload.freeze() }]).await.map(drop)
}

/// The letter without its body. Where it does not fit beside the body, it tells less: what another program published may
/// be as large as the server takes.
fn told(letter: &DeadLetter, bytes_max: usize) -> Result<Vec<u8>, BrokerError> {
    let failed =
        |error| invalid(format!("dead letter of message {:?} cannot be told", letter.id)).caused_by(Box::new(error));
    let told = serde_json::to_vec(letter).map_err(failed)?;
    // Headers take a little as well.
    if told.len() + letter.body.len() + 1024 <= bytes_max {
        return Ok(told);
    }
    let mut short = DeadLetter { body: Bytes::new(), attempts: Vec::new(), ..letter.clone() };
    short.evidence.backtrace = None;
    short.evidence.attempt = None;
    short.evidence.error.truncate(short.evidence.error.floor_char_boundary(256));
    serde_json::to_vec(&short).map_err(failed)
}

fn read(message: &StreamMessage) -> Option<DeadLetter> {
    let length: usize = message.headers.get(HEADER)?.as_str().parse().ok()?;
    let told = message.payload.get(..length)?;
    let mut letter: DeadLetter = serde_json::from_slice(told).ok()?;
    letter.body = message.payload.slice(length..);
    Some(letter)
}

/// The next letter that is meant, from a sequence on.
async fn next(
    link: &Link,
    filter: &DeadLetterFilter,
    from: &mut u64,
) -> Result<Option<(u64, DeadLetter)>, BrokerError> {
    let what = || "dead letters could not be read".to_owned();
    let subject = match &filter.queue {
        Some(queue) => link.names.dead_subject(queue),
        None => format!("{}.*", link.names.dead()),
    };
    loop {
        let reading = async {
            match link.dead.raw_message_builder().sequence(*from).next_by_subject(&subject).send().await {
                Ok(message) => Ok(Some(message)),
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
                Err(error) => Err(error),
            }
        };
        let Some(message) = in_time(what, reading).await? else { return Ok(None) };
        *from = message.sequence + 1;
        match read(&message) {
            Some(letter) if filter.matches(&letter) => return Ok(Some((message.sequence, letter))),
            Some(_) => {}
            None => tracing::warn!(sequence = message.sequence, "dead letter cannot be read; it is left where it is"),
        }
    }
}

/// A page of letters, as it is asked for.
async fn page<T: Paged + From<DeadLetter>>(
    link: &Link,
    filter: &DeadLetterFilter,
    skip: usize,
    max: usize,
) -> Result<Vec<T>, BrokerError> {
    link.check()?;
    let mut from = 1;
    let mut skipped = 0;
    let mut page = Page::new(max);
    while let Some((_, letter)) = next(link, filter, &mut from).await? {
        if skipped < skip {
            skipped += 1;
        } else if !page.add(T::from(letter)) {
            break;
        }
    }
    Ok(page.into_letters())
}

/// Deletes a letter; says whether it was still there.
async fn delete(link: &Link, sequence: u64) -> Result<bool, BrokerError> {
    let deleting = async {
        match link.dead.delete_message(sequence).await {
            Ok(deleted) => Ok(deleted),
            // Another was faster.
            Err(error) if matches!(error.kind(), DeleteMessageErrorKind::JetStream(_)) => Ok(false),
            Err(error) => Err(error),
        }
    };
    in_time(|| format!("dead letter {sequence} could not be deleted"), deleting).await
}

#[async_trait]
impl DeadLetters for NatsBroker {
    async fn list(&self, filter: &DeadLetterFilter, skip: usize, max: usize) -> Result<Vec<Listed>, BrokerError> {
        page(self.link(), filter, skip, max).await
    }

    async fn show(&self, filter: &DeadLetterFilter, skip: usize, max: usize) -> Result<Vec<DeadLetter>, BrokerError> {
        page(self.link(), filter, skip, max).await
    }

    async fn redrive(&self, filter: &DeadLetterFilter) -> Result<u64, BrokerError> {
        let link = self.link();
        link.check()?;
        let mut from = 1;
        let mut redriven = 0;
        while let Some((sequence, letter)) = next(link, filter, &mut from).await? {
            let envelope = Envelope::redriven(&letter);
            // A second redrive of it, because this one did not finish, adds nothing.
            let by = format!("{} redriven {sequence}", letter.queue);
            let headers = match envelope.headers(&by) {
                Ok(headers) => headers,
                Err(_) => Envelope { attempts: Vec::new(), ..envelope.clone() }.headers(&by)?,
            };
            let subject = link.subject(&letter.queue, &envelope);
            link.publish(vec![Outgoing { subject, headers: Some(headers), payload: letter.body }]).await?;
            redriven += u64::from(delete(link, sequence).await?);
        }
        Ok(redriven)
    }

    async fn purge(&self, filter: &DeadLetterFilter) -> Result<u64, BrokerError> {
        let link = self.link();
        link.check()?;
        let mut from = 1;
        let mut purged = 0;
        while let Some((sequence, _)) = next(link, filter, &mut from).await? {
            purged += u64::from(delete(link, sequence).await?);
        }
        Ok(purged)
    }
}
