//! The numbers of messages in each queue, as the server counts them.

use std::collections::{BTreeMap, HashMap};

use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use futures::{StreamExt, TryStreamExt};
use wasmpost_delivery::{BrokerError, QueueStats};

use crate::error::{in_time, not_stored, unanswered};
use crate::link::Link;
use crate::names::Names;
use crate::{bindings, consumers};

/// How many requests are under way at a time.
const READING_AT_ONCE: usize = 16;
/// How often a count is tried that others change as well.
const COUNT_TRIES: u32 = 50;

/// The numbers of messages in each queue. A delayed message counts as leased: the server does not distinguish them.
pub(crate) async fn read(link: &Link) -> Result<Vec<QueueStats>, BrokerError> {
    bindings::load(link).await?;
    let mut all: BTreeMap<String, QueueStats> = BTreeMap::new();
    for queue in link.bindings.queues() {
        all.insert(queue.clone(), QueueStats { queue, ..QueueStats::default() });
    }
    let waiting = bindings::subjects(&link.messages, &format!("{}.*.*", link.names.stream)).await?;
    let dead = bindings::subjects(&link.dead, &format!("{}.*", link.names.dead())).await?;
    add(&mut all, waiting, |stats| &mut stats.ready);
    add(&mut all, dead, |stats| &mut stats.dead);
    let read = futures::stream::iter(all.into_values().map(|stats| complete(link, stats)));
    read.buffered(READING_AT_ONCE).try_collect().await
}

fn add(all: &mut BTreeMap<String, QueueStats>, counts: HashMap<String, usize>, of: fn(&mut QueueStats) -> &mut u64) {
    for (subject, count) in counts {
        let Some(queue) = Names::queue_of(&subject) else { continue };
        let stats = all.entry(queue.clone()).or_insert_with(|| QueueStats { queue, ..QueueStats::default() });
        *of(stats) += count as u64;
    }
}

async fn complete(link: &Link, mut stats: QueueStats) -> Result<QueueStats, BrokerError> {
    let what = || format!("queue {:?}: its consumers could not be looked at", stats.queue);
    let mut leased = 0;
    let mut redelivered = 0;
    let mut waiting = 0;
    for name in consumers::names(link, &stats.queue) {
        let looking = async {
            match link.messages.consumer_info(&name).await {
                Ok(info) => Ok(Some(info)),
                Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        };
        // A queue that was never declared has none.
        let Some(info) = in_time(what, looking).await? else { break };
        leased += info.num_ack_pending as u64;
        redelivered += info.num_redelivered as u64;
        // Each host has one request at each consumer.
        waiting = waiting.max(info.num_waiting as u64);
        if info.num_pending > 0 {
            // Messages that were delivered before are not looked for: the server tells their number alone.
            let from = info.delivered.stream_sequence + 1;
            let next = bindings::next(link, &info.config.filter_subject, from).await?;
            let stored = next.map(|next| crate::intake::timestamp(next.time.unix_timestamp_nanos()));
            stats.oldest_due = stats.oldest_due.into_iter().chain(stored).min();
        }
    }
    stats.leased = leased.min(stats.ready);
    stats.ready -= stats.leased;
    stats.redelivered = Some(redelivered);
    stats.consumers = Some(waiting);
    stats.expired = expired(link, &stats.queue).await?.1;
    if stats.ready + stats.leased > 0 {
        let first = bindings::next(link, &link.names.queue_filter(&stats.queue), 1).await?;
        stats.oldest = first.map(|first| crate::intake::timestamp(first.time.unix_timestamp_nanos()));
    }
    Ok(stats)
}

/// How many messages of a queue expired, and where that is stored.
async fn expired(link: &Link, queue: &str) -> Result<(u64, u64), BrokerError> {
    let subject = link.names.expired_subject(queue);
    let reading = async {
        match link.queues.get_last_raw_message_by_subject(&subject).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(error),
        }
    };
    let message = in_time(|| format!("queue {queue:?}: its count could not be read"), reading).await?;
    let count = |payload: &[u8]| std::str::from_utf8(payload).ok().and_then(|count| count.parse().ok());
    Ok(message.map_or((0, 0), |message| (message.sequence, count(&message.payload).unwrap_or(0))))
}

/// Counts a message that expired. Hosts that count at a time do it one after the other.
pub(crate) async fn count_expired(link: &Link, queue: &str, id: &str) -> Result<(), BrokerError> {
    let subject = link.names.expired_subject(queue);
    for _ in 0..COUNT_TRIES {
        let (at, count) = expired(link, queue).await?;
        let message =
            PublishMessage::build().payload((count + 1).to_string().into()).expected_last_subject_sequence(at);
        let storing = async {
            match link.context.send_publish(subject.clone(), message).await {
                Ok(confirming) => confirming.await,
                Err(error) => Err(error),
            }
        };
        match tokio::time::timeout(crate::error::ANSWER_TIMEOUT, storing).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) if error.kind() == PublishErrorKind::WrongLastSequence => {}
            Ok(Err(error)) => return Err(not_stored(&subject, error)),
            Err(_) => return Err(unanswered(format!("queue {queue:?}: its count could not be stored"))),
        }
    }
    tracing::warn!(queue, id, "an expired message was not counted");
    Ok(())
}
