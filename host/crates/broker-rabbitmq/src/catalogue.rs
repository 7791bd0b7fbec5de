//! The catalogue of the broker: which queues take from which topics. AMQP cannot list that, so it is kept in one
//! message of a queue, which is read and written under the lock of all hosts. Readers use a copy (`copy.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicGetOptions};
use serde::{Deserialize, Serialize};
use wasmpost_delivery::{BrokerError, BrokerErrorKind};

use crate::error::{answered, failed, unavailable};
use crate::link::Link;
use crate::lock::{Lock, Locked};
use crate::names::{CATALOGUE, COPY, short};
use crate::topology;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Catalogue {
    /// Counts what was written: of two, after a crash, the later one holds.
    version: u64,
    pub(crate) queues: BTreeMap<String, Entry>,
    /// Topics that keep, or kept, messages while no queue takes from them.
    pub(crate) kept: BTreeSet<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) topics: BTreeSet<String>,
    /// The delays that the queue has queues for, in milliseconds.
    pub(crate) delays: BTreeSet<u64>,
}

impl Catalogue {
    /// Whether some queue takes from a topic.
    pub(crate) fn is_taken(&self, topic: &str) -> bool {
        self.queues.values().any(|entry| entry.topics.contains(topic))
    }
}

impl Entry {
    pub(crate) fn delays(&self) -> impl Iterator<Item = Duration> {
        self.delays.iter().copied().map(Duration::from_millis)
    }
}

/// The catalogue in the hands of this host, until it is [closed](Self::close). No other host reads it meanwhile.
pub(crate) struct Opened {
    pub(crate) catalogue: Catalogue,
    before: Catalogue,
    channel: Channel,
    last: Option<u64>,
    /// Whether those who only read miss a copy.
    is_copied: bool,
    locked: Locked,
}

/// Reads the catalogue, to change it. Declare queues before they are added to it.
pub(crate) async fn open(link: &Link, publishing: &Link, lock: &Lock) -> Result<Opened, BrokerError> {
    let locked = lock.take(link).await?;
    topology::declare_catalogue(link).await?;
    let channel = publishing.confirming().await?;
    let (catalogue, last) = read(&channel).await?;
    let before = catalogue.clone();
    Ok(Opened { catalogue, before, channel, last, is_copied: true, locked })
}

impl Opened {
    /// Has a copy made of it although nothing changes.
    pub(crate) fn copy(&mut self) {
        self.is_copied = false;
    }

    /// Writes it again, as it was where the change failed, and lets others have it.
    pub(crate) async fn close<T>(mut self, changed: Result<T, BrokerError>) -> Result<T, BrokerError> {
        if changed.is_err() {
            self.catalogue = self.before.clone();
        }
        let written = self.write_back().await;
        self.locked.release().await;
        let changed = changed?;
        written.map(|()| changed)
    }

    async fn write_back(&mut self) -> Result<(), BrokerError> {
        // The catalogue is not put back but written anew: until that is confirmed, the old one would come back.
        let is_changed = self.catalogue != self.before;
        self.catalogue.version += 1;
        // The copy comes first: should this end in between, it tells of something that was declared already.
        if is_changed || !self.is_copied {
            write(&self.channel, COPY, &self.catalogue).await?;
        }
        write(&self.channel, CATALOGUE, &self.catalogue).await?;
        if let Some(tag) = self.last {
            let all = BasicAckOptions { multiple: true };
            answered("replacing the catalogue", self.channel.basic_ack(tag, all)).await?;
        }
        // Nobody reads on until the broker has seen the ack.
        answered("closing a channel", self.channel.close(200, "done".into())).await
    }
}

/// The catalogue, and the tag of the last message that it was read from.
async fn read(channel: &Channel) -> Result<(Catalogue, Option<u64>), BrokerError> {
    let mut versions = Vec::new();
    let mut last = None;
    loop {
        let got = answered("reading the catalogue", channel.basic_get(short(CATALOGUE), BasicGetOptions::default()));
        let Some(message) = got.await? else {
            return Ok((newest(CATALOGUE, &versions)?.unwrap_or_default(), last));
        };
        last = Some(message.delivery_tag);
        versions.push(message.delivery.data);
    }
}

/// The newest of the versions that a queue holds, if it holds any.
pub(crate) fn newest(queue: &str, versions: &[Vec<u8>]) -> Result<Option<Catalogue>, BrokerError> {
    let parsed = versions.iter().map(|bytes| serde_json::from_slice::<Catalogue>(bytes));
    let parsed = parsed.collect::<Result<Vec<_>, _>>().map_err(|error| {
        BrokerError::new(BrokerErrorKind::Corrupt, format!("queue {queue:?} does not hold a catalogue: {error}"))
    })?;
    Ok(parsed.into_iter().max_by_key(|catalogue| catalogue.version))
}

async fn write(channel: &Channel, queue: &str, catalogue: &Catalogue) -> Result<(), BrokerError> {
    let json = serde_json::to_vec(catalogue).map_err(|error| unavailable(format!("catalogue: {error}")))?;
    let properties =
        lapin::BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
    let options = lapin::options::BasicPublishOptions { mandatory: true, ..Default::default() };
    let what = "writing the catalogue";
    let sent = answered(what, channel.basic_publish("".into(), short(queue), options, &json, properties)).await?;
    let confirmed = tokio::time::timeout(crate::error::ANSWER_MAX, sent).await;
    match confirmed.map_err(|_| unavailable(format!("{what}: no confirm came")))? {
        Ok(lapin::Confirmation::Ack(None)) => Ok(()),
        Ok(_) => Err(unavailable(format!("{what}: RabbitMQ did not store it"))),
        Err(error) => Err(failed(what, &error)),
    }
}
