//! Moving what topics kept, while no queue took from them, into the queue that does now.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lapin::options::{BasicAckOptions, BasicGetOptions};
use wasmpost_delivery::{BrokerError, BrokerErrorKind};
use wasmpost_msg::chain;

use crate::envelope::Envelope;
use crate::error::answered;
use crate::foreign::{self, Origin};
use crate::hub::Hub;
use crate::names;

/// How much is moved between two confirms. A channel holds acks of more than 32 gets back until the queue has applied those
/// before them, and forgets them when it is closed: their messages would come again.
const BATCH: usize = 25;
/// When it is looked again for what was on its way to the topic while the queue was bound.
const AGAIN: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];

/// Moves all that `topics` keep into a queue.
pub(crate) async fn all(hub: &Hub, queue: &str, topics: &[String]) -> Result<(), BrokerError> {
    for topic in topics {
        while batch(hub, queue, topic).await? == BATCH {}
    }
    Ok(())
}

/// Does so again a few times.
pub(crate) async fn again(hub: Arc<Hub>, queue: String, topics: Vec<String>) {
    for pause in AGAIN {
        tokio::time::sleep(pause).await;
        if let Err(error) = all(&hub, &queue, &topics).await {
            tracing::warn!(queue, error = %chain(&error), "contents of topics were not moved");
        }
    }
}

async fn batch(hub: &Hub, queue: &str, topic: &str) -> Result<usize, BrokerError> {
    let channel = hub.link.channel().await?;
    let mut envelopes = Vec::new();
    let mut last = None;
    while envelopes.len() < BATCH {
        let getting = channel.basic_get(names::kept(topic), BasicGetOptions::default());
        let got = match answered("moving messages that a topic kept", getting).await {
            Err(error) if error.kind() == BrokerErrorKind::NotFound => return Ok(0),
            got => got?,
        };
        let Some(message) = got else { break };
        last = Some(message.delivery_tag);
        let delivery = message.delivery;
        let body = Bytes::from(delivery.data);
        envelopes.push(Envelope::decoded(&delivery.properties, &body).unwrap_or_else(|| {
            let origin = Origin { exchange: delivery.exchange.as_str(), queue: topic, now: hub.now() };
            foreign::envelope(&delivery.properties, body, &origin).0
        }));
    }
    if let Some(last) = last {
        hub.put(queue, &envelopes).await?;
        let multiple = BasicAckOptions { multiple: true };
        answered("moving messages that a topic kept", channel.basic_ack(last, multiple)).await?;
    }
    answered("closing a channel", channel.close(200, "done".into())).await?;
    Ok(envelopes.len())
}
