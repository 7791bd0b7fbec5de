//! The least that a consumer of JetStream does: pull, and ack.

use std::time::{Duration, Instant};

use async_nats::jetstream::{self, consumer, stream};
use futures::StreamExt;

use crate::{BODY_BYTES, IN_FLIGHT, MESSAGES};

/// From a full stream to an empty one, with acks that the server confirms or that it does not.
pub(crate) async fn drain(url: &str, name: &str, confirmed: bool) -> Duration {
    let context = jetstream::new(async_nats::connect(url).await.unwrap());
    let config = stream::Config {
        name: name.to_owned(),
        subjects: vec![name.to_owned()],
        retention: stream::RetentionPolicy::WorkQueue,
        ..stream::Config::default()
    };
    let stream = context.create_stream(config).await.unwrap();
    let config = consumer::pull::Config { durable_name: Some("bare".into()), ..consumer::pull::Config::default() };
    let consumer = stream.create_consumer(config).await.unwrap();
    let publishing = futures::stream::iter(0..MESSAGES).for_each_concurrent(256, async |_| {
        let body = vec![b'x'; BODY_BYTES].into();
        context.publish(name.to_owned(), body).await.unwrap().await.unwrap();
    });
    publishing.await;
    let began = Instant::now();
    let messages = consumer.stream().max_messages_per_batch(IN_FLIGHT).messages().await.unwrap();
    let mut messages = messages.take(MESSAGES);
    if confirmed {
        messages.for_each_concurrent(IN_FLIGHT, async |message| message.unwrap().double_ack().await.unwrap()).await;
    } else {
        while let Some(message) = messages.next().await {
            message.unwrap().ack().await.unwrap();
        }
    }
    let took = began.elapsed();
    context.delete_stream(name).await.unwrap();
    took
}
