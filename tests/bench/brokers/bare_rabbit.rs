//! The least that a consumer of a quorum queue does: take what comes, and ack.

use std::time::{Duration, Instant};

use futures::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};

use crate::{BODY_BYTES, IN_FLIGHT, MESSAGES};

/// From a full queue to an empty one.
pub(crate) async fn drain(url: &str, name: &str) -> Duration {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.into(), options, arguments).await.unwrap();
    publish(&connection, name).await;
    channel.basic_qos(u16::try_from(IN_FLIGHT).unwrap(), BasicQosOptions::default()).await.unwrap();
    let began = Instant::now();
    let consuming =
        channel.basic_consume(name.into(), "bare".into(), BasicConsumeOptions::default(), FieldTable::default());
    let mut messages = consuming.await.unwrap().take(MESSAGES);
    while let Some(message) = messages.next().await {
        message.unwrap().ack(BasicAckOptions::default()).await.unwrap();
    }
    let took = began.elapsed();
    channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.unwrap();
    connection.close(200, "done".into()).await.unwrap();
    took
}

async fn publish(connection: &Connection, name: &str) {
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let publishing = futures::stream::iter(0..MESSAGES).for_each_concurrent(256, async |_| {
        let body = vec![b'x'; BODY_BYTES];
        let properties = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        channel.basic_publish("".into(), name.into(), options, &body, properties).await.unwrap().await.unwrap();
    });
    publishing.await;
}
