//! The topics of each queue, which every host reads from a stream.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use wasmpost_delivery::{BrokerError, QueueSpec};
use wasmpost_msg::chain;

use crate::envelope::Envelope;
use crate::error::{ANSWER_TIMEOUT, in_time, unanswered, unavailable};
use crate::link::Link;
use crate::publish::Outgoing;

/// How many requests are under way at a time.
const READING_AT_ONCE: usize = 32;
/// How long to wait before reading is tried again.
const RELOAD_PAUSE: Duration = Duration::from_secs(1);

/// The topics of a queue, as they are stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Binding {
    name: String,
    topics: Vec<String>,
}

/// The topics of all queues, as far as they are known.
#[derive(Default)]
pub(crate) struct Bindings(RwLock<Arc<Table>>);

#[derive(Default)]
struct Table {
    by_queue: HashMap<String, Binding>,
    by_topic: HashMap<String, BTreeSet<String>>,
}

impl Table {
    fn new(bindings: impl IntoIterator<Item = Binding>) -> Self {
        let mut table = Self::default();
        for binding in bindings {
            for topic in &binding.topics {
                table.by_topic.entry(topic.clone()).or_default().insert(binding.name.clone());
            }
            table.by_queue.insert(binding.name.clone(), binding);
        }
        table
    }
}

impl Bindings {
    /// The queues that take from a topic; that of its own name where none does.
    pub(crate) fn queues_of(&self, topic: &str) -> Vec<String> {
        let table = Arc::clone(&self.0.read());
        table.by_topic.get(topic).map_or_else(|| vec![topic.to_owned()], |queues| queues.iter().cloned().collect())
    }

    /// All queues that were declared.
    pub(crate) fn queues(&self) -> Vec<String> {
        self.0.read().by_queue.keys().cloned().collect()
    }

    fn is_declared(&self, queue: &str) -> bool {
        self.0.read().by_queue.contains_key(queue)
    }

    fn add(&self, binding: Binding) {
        let mut table = self.0.write();
        let mut all = table.by_queue.clone();
        all.insert(binding.name.clone(), binding);
        *table = Arc::new(Table::new(all.into_values()));
    }

    fn knows(&self, binding: &Binding) -> bool {
        self.0.read().by_queue.get(&binding.name) == Some(binding)
    }
}

/// Reads all queues anew.
pub(crate) async fn load(link: &Link) -> Result<(), BrokerError> {
    let what = || "queues could not be read".to_owned();
    let filter = format!("{}.spec.*", link.names.queues());
    let subjects = subjects(&link.queues, &filter).await?;
    let read = futures::stream::iter(subjects.into_keys().map(|subject| async move {
        let reading = async {
            match link.queues.get_last_raw_message_by_subject(&subject).await {
                Ok(message) => Ok(Some(message.payload)),
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
                Err(error) => Err(error),
            }
        };
        let Some(payload) = in_time(what, reading).await? else { return Ok(None) };
        serde_json::from_slice::<Binding>(&payload).map(Some).map_err(|error| unavailable(what(), error))
    }));
    let all: Vec<Option<Binding>> = read.buffer_unordered(READING_AT_ONCE).try_collect().await?;
    *link.bindings.0.write() = Arc::new(Table::new(all.into_iter().flatten()));
    Ok(())
}

/// How many messages lie under each subject.
pub(crate) async fn subjects(stream: &Stream<()>, filter: &str) -> Result<HashMap<String, usize>, BrokerError> {
    let what = || format!("subjects {filter} could not be read");
    let reading = async {
        let info = stream.info_with_subjects(filter).await.map_err(|error| unavailable(what(), error))?;
        info.try_collect::<HashMap<_, _>>().await.map_err(|error| unavailable(what(), error))
    };
    tokio::time::timeout(ANSWER_TIMEOUT, reading).await.unwrap_or_else(|_| Err(unanswered(what())))
}

/// Tells all hosts what a queue takes from, and moves to it what waits under topics that no queue took from.
pub(crate) async fn declare(link: &Link, spec: &QueueSpec) -> Result<(), BrokerError> {
    load(link).await?;
    let binding = Binding { name: spec.name.clone(), topics: spec.all_topics() };
    if !link.bindings.knows(&binding) {
        let payload = serde_json::to_vec(&binding)
            .map_err(|error| unavailable(format!("queue {:?} could not be told", spec.name), error))?;
        let subject = link.names.spec_subject(&spec.name);
        link.publish(vec![Outgoing { subject, headers: None, payload: payload.into() }]).await?;
        link.bindings.add(binding);
    }
    for topic in spec.all_topics() {
        if topic != spec.name && !link.bindings.is_declared(&topic) {
            adopt(link, &topic, &spec.name).await?;
        }
    }
    Ok(())
}

/// Moves what waits under a topic to a queue. Two hosts that do it at a time move each message once: it has the id by
/// which the server knows it.
async fn adopt(link: &Link, topic: &str, queue: &str) -> Result<(), BrokerError> {
    let what = || format!("queue {queue:?}: messages that wait under topic {topic:?} could not be moved to it");
    let filter = link.names.queue_filter(topic);
    if subjects(&link.messages, &filter).await?.is_empty() {
        return Ok(());
    }
    let mut from = 1;
    let mut moved = 0_u64;
    while let Some(message) = next(link, &filter, from).await? {
        let mut envelope = Envelope::read(Some(&message.headers), topic, || format!("{topic}:{}", message.sequence));
        envelope.published_at.get_or_insert(crate::intake::timestamp(message.time.unix_timestamp_nanos()));
        link.publish(vec![link.to_queue(queue, &envelope, message.payload)?]).await?;
        in_time(what, link.messages.delete_message(message.sequence)).await?;
        (from, moved) = (message.sequence + 1, moved + 1);
    }
    tracing::info!(queue, topic, moved, "messages of a topic that no queue took from were moved");
    Ok(())
}

/// The first message under a subject, from a sequence on.
pub(crate) async fn next(
    link: &Link,
    filter: &str,
    from: u64,
) -> Result<Option<async_nats::jetstream::message::StreamMessage>, BrokerError> {
    let reading = async {
        match link.messages.raw_message_builder().sequence(from).next_by_subject(filter).send().await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(error),
        }
    };
    in_time(|| format!("messages under {filter} could not be read"), reading).await
}

/// Keeps the bindings as other hosts declare them, until the broker is closed.
pub(crate) async fn watch(link: Arc<Link>) -> Result<(), BrokerError> {
    let subject = format!("{}.spec.*", link.names.queues());
    let what = || format!("{subject} cannot be subscribed to");
    let mut told = in_time(what, link.client.subscribe(subject.clone())).await?;
    let mut generation = link.generation.clone();
    generation.mark_unchanged();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = link.closed.cancelled() => return,
                message = told.next() => match message {
                    Some(message) => learn(&link, &message.payload),
                    None => return,
                },
                changed = generation.changed() => {
                    if changed.is_err() { return }
                    load_again(&link).await;
                }
            }
        }
    });
    Ok(())
}

/// Loads changes that were missed while the connection was lost. A server that just started may need some time.
async fn load_again(link: &Link) {
    while let Err(error) = load(link).await {
        tracing::warn!(error = %chain(&error), "queues could not be read after a reconnect; trying again");
        let closed = tokio::time::timeout(RELOAD_PAUSE, link.closed.cancelled()).await;
        if closed.is_ok() {
            return;
        }
    }
}

fn learn(link: &Link, payload: &Bytes) {
    match serde_json::from_slice::<Binding>(payload) {
        Ok(binding) => link.bindings.add(binding),
        Err(error) => tracing::warn!(error = %chain(&error), "record of a queue cannot be read"),
    }
}
