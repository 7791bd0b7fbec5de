//! Names at the broker.

use std::fmt::Display;
use std::time::Duration;

use lapin::types::ShortString;
use wasmpost_delivery::{BrokerError, BrokerErrorKind};

/// The longest name of a topic or queue, in bytes: AMQP's names have 255, and prefixes need some of them.
const NAME_BYTES_MAX: usize = 220;
const TOPIC: &str = "wasmpost.topic.";

/// The exchange for messages of topics that no queue is bound to.
pub(crate) const UNROUTED: &str = "wasmpost.unrouted";
/// The queue that has the catalogue.
pub(crate) const CATALOGUE: &str = "wasmpost.catalogue";
/// The queue that has a copy of it, for those who only read.
pub(crate) const COPY: &str = "wasmpost.catalogue.copy";
/// The queue that whoever has the lock has for itself.
pub(crate) const LOCK: &str = "wasmpost.lock";

/// The exchange of a topic.
pub(crate) fn topic(name: &str) -> ShortString {
    short(format!("{TOPIC}{name}"))
}

/// The topic of an exchange.
pub(crate) fn topic_of(exchange: &str) -> Option<&str> {
    exchange.strip_prefix(TOPIC)
}

/// The queue that messages are pulled from.
pub(crate) fn work(queue: &str) -> ShortString {
    short(format!("wasmpost.queue.{queue}"))
}

/// The dead letters of a queue.
pub(crate) fn dead(queue: &str) -> ShortString {
    short(format!("wasmpost.dead.{queue}"))
}

/// The queue in which messages wait for so long.
pub(crate) fn delay(queue: &str, tier: Duration) -> ShortString {
    short(format!("wasmpost.delay.{}.{queue}", tier.as_millis()))
}

/// The queue that keeps the messages of a topic that no queue takes from.
pub(crate) fn kept(topic: &str) -> ShortString {
    short(format!("wasmpost.kept.{topic}"))
}

/// Refuses a name that does not fit behind the prefixes.
pub(crate) fn check(name: &str) -> Result<(), BrokerError> {
    if name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    let shown: String = name.chars().take(40).collect();
    let context = format!("name {shown:?}… has more than the {NAME_BYTES_MAX} bytes that fit on RabbitMQ");
    Err(BrokerError::new(BrokerErrorKind::Invalid, context))
}

/// A short string of AMQP. A longer text is cut: names are checked before.
pub(crate) fn short(text: impl Display) -> ShortString {
    let text = text.to_string();
    let cut = text.floor_char_boundary(255);
    text.get(..cut).unwrap_or_default().to_owned().into()
}
