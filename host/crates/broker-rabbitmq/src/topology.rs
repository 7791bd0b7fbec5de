//! Declaring queues and exchanges at the broker. Declaring one that exists checks it: if it differs, the error of
//! RabbitMQ says how.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, ExchangeKind};
use wasmpost_delivery::{BrokerError, BrokerErrorKind, QueueSpec};

use crate::catalogue::Catalogue;
use crate::error::answered;
use crate::link::Link;
use crate::names;

/// How often the broker itself hands out a message before it moves it to the dead letters, should all hosts end with it
/// before they can count. Newer brokers would drop it instead, after as many.
const BROKER_DELIVERIES_MAX: i32 = 20;
/// Dead letters and what is kept can be looked at for ever, which the broker counts as deliveries.
const UNLIMITED: i32 = 1_000_000_000;

/// The numbers of messages and consumers of a queue of the broker.
pub(crate) struct Count {
    pub(crate) ready: u64,
    pub(crate) consumers: u64,
}

pub(crate) async fn declare_catalogue(link: &Link) -> Result<(), BrokerError> {
    let channel = link.channel().await?;
    declare(&channel, names::short(names::CATALOGUE), quorum()).await?;
    declare_last(&channel, names::short(names::COPY)).await?;
    finish(channel).await
}

/// Declares a queue with its topics, and unbinds it from those that it had before.
pub(crate) async fn declare_queue(link: &Link, catalogue: &mut Catalogue, spec: &QueueSpec) -> Result<(), BrokerError> {
    let channel = link.channel().await?;
    let work = names::work(&spec.name);
    let dead = names::dead(&spec.name);
    let mut kept = quorum();
    limit(&mut kept, UNLIMITED);
    declare(&channel, dead.clone(), kept).await?;
    let mut worked = quorum();
    limit(&mut worked, BROKER_DELIVERIES_MAX);
    route_dead(&mut worked, dead);
    declare(&channel, work.clone(), worked).await?;
    let entry = catalogue.queues.entry(spec.name.clone()).or_default();
    let wanted = spec.all_topics().into_iter().collect();
    let before = std::mem::replace(&mut entry.topics, wanted);
    let now = entry.topics.clone();
    for topic in &now {
        declare_topic(&channel, topic).await?;
        let binding = channel.queue_bind(
            work.clone(),
            names::topic(topic),
            ShortString::default(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        answered(&format!("queue {:?}: taking from topic {topic:?}", spec.name), binding).await?;
    }
    for topic in before.difference(&now) {
        if !catalogue.is_taken(topic) {
            keep(&channel, catalogue, topic).await?;
        }
        let exchange = names::topic(topic);
        let unbinding = channel.queue_unbind(work.clone(), exchange, ShortString::default(), FieldTable::default());
        answered(&format!("queue {:?}: taking no more from topic {topic:?}", spec.name), unbinding).await?;
    }
    finish(channel).await
}

/// Makes sure that what is published to a topic goes to queues, or is kept until there is one.
pub(crate) async fn prepare_topic(link: &Link, catalogue: &mut Catalogue, topic: &str) -> Result<(), BrokerError> {
    let channel = link.channel().await?;
    declare_topic(&channel, topic).await?;
    if !catalogue.is_taken(topic) {
        keep(&channel, catalogue, topic).await?;
    }
    finish(channel).await
}

/// Declares the queue in which messages of `queue` wait for so long.
pub(crate) async fn declare_delay(
    link: &Link,
    catalogue: &mut Catalogue,
    queue: &str,
    tier: Duration,
) -> Result<(), BrokerError> {
    let channel = link.channel().await?;
    let mut arguments = quorum();
    let millis = i64::try_from(tier.as_millis()).unwrap_or(i64::MAX);
    arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(millis));
    route_dead(&mut arguments, names::work(queue));
    declare(&channel, names::delay(queue, tier), arguments).await?;
    let entry = catalogue.queues.entry(queue.to_owned()).or_default();
    entry.delays.insert(u64::try_from(tier.as_millis()).unwrap_or(u64::MAX));
    finish(channel).await
}

/// Counts what is ready in a queue of the broker; nothing where there is no such queue. Then the channel is used up.
pub(crate) async fn count(channel: &Channel, queue: ShortString) -> Result<Option<Count>, BrokerError> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let counting = channel.queue_declare(queue, passive, FieldTable::default());
    match answered("counting messages", counting).await {
        Ok(queue) => {
            let ready = queue.message_count().into();
            let consumers = queue.consumer_count().into();
            Ok(Some(Count { ready, consumers }))
        }
        Err(error) if error.kind() == BrokerErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn declare_topic(channel: &Channel, topic: &str) -> Result<(), BrokerError> {
    let what = format!("topic {topic:?}: declaring its exchange");
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let unrouted = names::short(names::UNROUTED);
    let declaring = channel.exchange_declare(unrouted.clone(), ExchangeKind::Direct, options, FieldTable::default());
    answered(&what, declaring).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("alternate-exchange".into(), AMQPValue::LongString(long(&unrouted)));
    let declaring = channel.exchange_declare(names::topic(topic), ExchangeKind::Fanout, options, arguments);
    answered(&what, declaring).await
}

/// Has a topic keep what no queue takes.
async fn keep(channel: &Channel, catalogue: &mut Catalogue, topic: &str) -> Result<(), BrokerError> {
    let queue = names::kept(topic);
    let mut arguments = quorum();
    limit(&mut arguments, UNLIMITED);
    declare(channel, queue.clone(), arguments).await?;
    let unrouted = names::short(names::UNROUTED);
    let options = QueueBindOptions::default();
    let binding = channel.queue_bind(queue, unrouted, names::short(topic), options, FieldTable::default());
    answered(&format!("topic {topic:?}: keeping its messages"), binding).await?;
    catalogue.kept.insert(topic.to_owned());
    Ok(())
}

async fn declare(channel: &Channel, queue: ShortString, arguments: FieldTable) -> Result<(), BrokerError> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let what = format!("declaring queue {:?} of RabbitMQ", queue.as_str());
    answered(&what, channel.queue_declare(queue, options, arguments)).await.map(drop)
}

/// Declares a queue that keeps its last message alone, however often that is taken and given back. A new one pushes out
/// the one before.
async fn declare_last(channel: &Channel, queue: ShortString) -> Result<(), BrokerError> {
    let mut arguments = quorum();
    limit(&mut arguments, UNLIMITED);
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    declare(channel, queue, arguments).await
}

pub(crate) async fn finish(channel: Channel) -> Result<(), BrokerError> {
    answered("closing a channel", channel.close(200, "done".into())).await
}

/// Queues are replicated, and confirm after what they got is on disk.
fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments
}

fn limit(arguments: &mut FieldTable, deliveries: i32) {
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(deliveries));
}

/// Has the broker move what ends in a queue to another, and forget it only when the other has it.
fn route_dead(arguments: &mut FieldTable, to: ShortString) {
    arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
    arguments.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(long(&to)));
    arguments.insert("x-dead-letter-strategy".into(), AMQPValue::LongString("at-least-once".into()));
    // Which that strategy requires.
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
}

fn long(text: &ShortString) -> LongString {
    text.as_str().into()
}
