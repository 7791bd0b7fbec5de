//! Dead letters: a queue beside each queue. To look at them, they are taken and put back, by one host at a time.

use async_trait::async_trait;
use bytes::Bytes;
use lapin::Channel;
use lapin::message::Delivery as Arrived;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions};
use wasmpost_delivery::{
    BrokerError, BrokerErrorKind, DeadLetter, DeadLetterFilter, DeadLetters, Evidence, Listed, Page, Paged, Timestamp,
};
use wasmpost_msg::Reason;

use crate::arrival;
use crate::broker::RabbitBroker;
use crate::envelope::{Death, Envelope};
use crate::error::answered;
use crate::foreign::{self, Origin};
use crate::hub::Hub;
use crate::names;

/// An operation on dead letters.
enum Task {
    /// They are collected until there are so many of a queue, and put back.
    Show(Vec<DeadLetter>, usize),
    /// The same, and their bodies are not kept.
    List(Vec<Listed>, usize),
    Redrive,
    Purge,
}

#[async_trait]
impl DeadLetters for RabbitBroker {
    async fn list(&self, filter: &DeadLetterFilter, skip: usize, max: usize) -> Result<Vec<Listed>, BrokerError> {
        let mut task = Task::List(Vec::new(), skip.saturating_add(max));
        look(self.hub(), filter, &mut task).await?;
        let Task::List(mut letters, _) = task else { return Ok(Vec::new()) };
        letters.sort_by_key(|listed| listed.letter.dead_at);
        Ok(page(letters, skip, max))
    }

    async fn show(&self, filter: &DeadLetterFilter, skip: usize, max: usize) -> Result<Vec<DeadLetter>, BrokerError> {
        let mut task = Task::Show(Vec::new(), skip.saturating_add(max));
        look(self.hub(), filter, &mut task).await?;
        let Task::Show(mut letters, _) = task else { return Ok(Vec::new()) };
        letters.sort_by_key(|letter| letter.dead_at);
        Ok(page(letters, skip, max))
    }

    async fn redrive(&self, filter: &DeadLetterFilter) -> Result<u64, BrokerError> {
        look(self.hub(), filter, &mut Task::Redrive).await
    }

    async fn purge(&self, filter: &DeadLetterFilter) -> Result<u64, BrokerError> {
        look(self.hub(), filter, &mut Task::Purge).await
    }
}

fn page<T: Paged>(letters: Vec<T>, skip: usize, max: usize) -> Vec<T> {
    let mut page = Page::new(max);
    let mut letters = letters.into_iter().skip(skip);
    while letters.next().is_some_and(|letter| page.add(letter)) {}
    page.into_letters()
}

/// Looks at the dead letters of all queues that may be meant, oldest first in each; says how many ended.
async fn look(hub: &Hub, filter: &DeadLetterFilter, task: &mut Task) -> Result<u64, BrokerError> {
    hub.link.check()?;
    let queues = match &filter.queue {
        Some(queue) => vec![queue.clone()],
        None => hub.read_catalogue().await?.queues.into_keys().collect(),
    };
    // One host at a time: what another has taken to look at would seem not to be there.
    let locked = hub.lock.take(&hub.link).await?;
    let mut ended = Ok(0);
    for queue in &queues {
        let here = look_at(hub, queue, filter, task).await;
        ended = ended.and_then(|ended| Ok(ended + here?));
        if ended.is_err() {
            break;
        }
    }
    locked.release().await;
    ended
}

async fn look_at(hub: &Hub, queue: &str, filter: &DeadLetterFilter, task: &mut Task) -> Result<u64, BrokerError> {
    let channel = hub.link.channel().await?;
    let mut ended = 0;
    let mut here = 0;
    let mut seen = 0;
    let mut there = None;
    while !matches!(task, Task::List(_, wanted) | Task::Show(_, wanted) if here >= *wanted) {
        // Redriven messages may die again meanwhile; those are not among the letters that were there.
        if there.is_some_and(|there| seen >= there) {
            break;
        }
        let Some((arrived, behind)) = next(&channel, queue).await? else { break };
        there.get_or_insert(u64::from(behind) + 1);
        seen += 1;
        let tag = arrived.delivery_tag;
        let mut envelope = envelope(hub, queue, arrived);
        let letter = letter(envelope.clone(), queue);
        if !filter.matches(&letter) {
            continue;
        }
        match task {
            Task::List(letters, _) => {
                here += 1;
                letters.push(letter.into());
                continue;
            }
            Task::Show(letters, _) => {
                here += 1;
                letters.push(letter);
                continue;
            }
            Task::Redrive => {
                let head = &mut envelope.head;
                (head.failures, head.due, head.expires, head.death) = (0, None, None, None);
                hub.put(queue, &[envelope]).await?;
            }
            Task::Purge => {}
        }
        answered("ending a dead letter", channel.basic_ack(tag, BasicAckOptions::default())).await?;
        ended += 1;
    }
    if channel.status().connected() {
        // All messages that were not acked go back in their old order before anybody else looks. Closing the channel
        // alone would put them back a little later.
        let rest = BasicNackOptions { multiple: true, requeue: true };
        answered("putting dead letters back", channel.basic_nack(0, rest)).await?;
        answered("closing a channel", channel.close(200, "done".into())).await?;
    }
    Ok(ended)
}

async fn next(channel: &Channel, queue: &str) -> Result<Option<(Arrived, u32)>, BrokerError> {
    if !channel.status().connected() {
        return Ok(None);
    }
    let getting = channel.basic_get(names::dead(queue), BasicGetOptions::default());
    match answered(&format!("queue {queue:?}: looking at dead letters"), getting).await {
        Ok(got) => Ok(got.map(|message| (message.delivery, message.message_count))),
        Err(error) if error.kind() == BrokerErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The message, and why it died: what the broker moved here itself is told by its headers alone.
fn envelope(hub: &Hub, queue: &str, arrived: Arrived) -> Envelope {
    let returns = arrival::returns(&arrived);
    let body = Bytes::from(arrived.data);
    let decoded = Envelope::decoded(&arrived.properties, &body);
    let mut envelope = decoded.unwrap_or_else(|| {
        let origin = Origin { exchange: arrived.exchange.as_str(), queue, now: hub.now() };
        foreign::envelope(&arrived.properties, body, &origin).0
    });
    if envelope.head.death.is_none() {
        envelope.head.deliveries += returns;
    }
    envelope
}

fn letter(envelope: Envelope, queue: &str) -> DeadLetter {
    let at = envelope.head.published_at;
    envelope.into_dead_letter(queue, || by_broker(at))
}

fn by_broker(at: Timestamp) -> Death {
    let error = "RabbitMQ handed it out as often as its queue allows, and it was never settled";
    Death { at, evidence: Evidence::by_host(Reason::Crash, error) }
}
