//! What readers see of the catalogue: a copy of each version, in a stream, out of which reading takes nothing. So nobody
//! waits for the lock of all hosts, and nothing is written, where only names or figures are wanted.

use std::time::Duration;

use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use wasmpost_delivery::BrokerError;

use crate::catalogue::{Catalogue, parsed};
use crate::error::answered;
use crate::link::Link;
use crate::names::{COPY, short};
use crate::topology;

/// How long the last version may take to come. A stream that has none yet says nothing.
const COME_MAX: Duration = Duration::from_secs(2);
/// Old versions go when there is more of them than this, in bytes.
const BYTES_MAX: i64 = 16 << 20;
const SEGMENT_BYTES: i64 = 1 << 20;

/// Declares the stream. Says whether it is new, and so without a copy.
pub(crate) async fn declare(link: &Link) -> Result<bool, BrokerError> {
    let channel = link.channel().await?;
    if topology::count(&channel, short(COPY)).await?.is_some() {
        topology::finish(channel).await?;
        return Ok(false);
    }
    let channel = link.channel().await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
    arguments.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(BYTES_MAX));
    arguments.insert("x-stream-max-segment-size-bytes".into(), AMQPValue::LongLongInt(SEGMENT_BYTES));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    answered("declaring the copies of the catalogue", channel.queue_declare(short(COPY), options, arguments)).await?;
    topology::finish(channel).await?;
    Ok(true)
}

/// The last version, if there is a copy of one.
pub(crate) async fn read(link: &Link) -> Result<Option<Catalogue>, BrokerError> {
    let what = "reading the catalogue";
    let channel = link.channel().await?;
    if topology::count(&channel, short(COPY)).await?.is_none() {
        return Ok(None);
    }
    // A stream hands nothing out without a bound.
    answered(what, channel.basic_qos(1, BasicQosOptions::default())).await?;
    let mut last = FieldTable::default();
    last.insert("x-stream-offset".into(), AMQPValue::LongString("last".into()));
    let consuming = channel.basic_consume(short(COPY), ShortString::default(), BasicConsumeOptions::default(), last);
    let mut consumer = answered(what, consuming).await?;
    let came = tokio::time::timeout(COME_MAX, consumer.next()).await;
    let read = match came {
        Ok(Some(Ok(message))) => Some(parsed(COPY, &message.data)?),
        Ok(Some(Err(error))) => return Err(crate::error::failed(what, &error)),
        // There is none yet, or what brought it ended.
        Ok(None) | Err(_) => None,
    };
    topology::finish(channel).await?;
    Ok(read)
}
