//! The numbers of messages, as far as AMQP tells them.

use lapin::Channel;
use lapin::types::ShortString;
use wasmpost_delivery::{BrokerError, QueueStats};

use crate::hub::Hub;
use crate::link::Link;
use crate::names;
use crate::topology::{self, Count};

/// Counts messages, on one channel for as long as every queue is there.
pub(crate) struct Counter<'a> {
    link: &'a Link,
    channel: Option<Channel>,
}

impl<'a> Counter<'a> {
    pub(crate) fn new(link: &'a Link) -> Self {
        Self { link, channel: None }
    }

    pub(crate) async fn count(&mut self, queue: ShortString) -> Result<Count, BrokerError> {
        let channel = match self.channel.take() {
            Some(channel) => channel,
            None => self.link.channel().await?,
        };
        let Some(count) = topology::count(&channel, queue).await? else { return Ok(Count { ready: 0, consumers: 0 }) };
        self.channel = Some(channel);
        Ok(count)
    }

    pub(crate) async fn ready(&mut self, queue: ShortString) -> Result<u64, BrokerError> {
        Ok(self.count(queue).await?.ready)
    }
}

/// The numbers of messages in each queue, and in topics without a queue. Acked, expired and leased messages are those
/// of this process.
pub(crate) async fn all(hub: &Hub) -> Result<Vec<QueueStats>, BrokerError> {
    let catalogue = hub.read_catalogue().await?;
    let mut counter = Counter::new(&hub.link);
    let mut all = Vec::new();
    for (name, entry) in &catalogue.queues {
        let waiting = counter.count(names::work(name)).await?;
        let mut stats = QueueStats { queue: name.clone(), ready: waiting.ready, ..QueueStats::default() };
        stats.consumers = Some(waiting.consumers);
        stats.dead = counter.ready(names::dead(name)).await?;
        for delay in entry.delays() {
            stats.delayed += counter.ready(names::delay(name, delay)).await?;
        }
        let tally = hub.tally(name);
        let tally = tally.lock();
        (stats.acked, stats.expired, stats.leased) = (tally.acked, tally.expired, tally.out);
        drop(tally);
        all.push(stats);
    }
    for topic in &catalogue.kept {
        let ready = counter.ready(names::kept(topic)).await?;
        match all.iter_mut().find(|stats| stats.queue == *topic) {
            Some(stats) => stats.ready += ready,
            None if ready > 0 => all.push(QueueStats { queue: topic.clone(), ready, ..QueueStats::default() }),
            None => {}
        }
    }
    Ok(all)
}
