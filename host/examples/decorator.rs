//! Decorators: one of your own around a receiver, beside those of the library that compress bodies and read them again.
#![allow(clippy::print_stdout)] // An example shows its steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use wasmpost::msg::decorator::lz4::{Lz4Receiver, Lz4Topic};
use wasmpost::msg::{Context, Message, ReceiveError, Receiver, ReceiverFunc, SafeReceiver, Topic};

/// The largest body that the receiver takes, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;

/// A receiver that counts the messages that another one fails on.
struct Counted<R> {
    receiver: R,
    failed: Arc<AtomicUsize>,
}

#[async_trait]
impl<R: Receiver> Receiver for Counted<R> {
    async fn receive(&self, message: Message) -> Result<(), ReceiveError> {
        let result = self.receiver.receive(message).await;
        if result.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

async fn receive(mut message: Message) -> Result<(), ReceiveError> {
    let body = message.dump_body(BODY_BYTES_MAX).await;
    let body = body.map_err(|error| ReceiveError::reject(error.to_string()))?;
    assert!(!body.is_empty(), "a report says something");
    println!("received {} bytes", body.len());
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // A panic becomes an error first, then errors are counted; bodies are decompressed before either sees them.
    let failed = Arc::new(AtomicUsize::new(0));
    let safe = SafeReceiver(ReceiverFunc(receive));
    let receiver = Lz4Receiver::new(Counted { receiver: safe, failed: Arc::clone(&failed) }, BODY_BYTES_MAX);

    // Messages of this topic go to the outbox of a delivery, compressed.
    let context = Context::default();
    let topic = Lz4Topic(context.topic("reports"));
    for chunks in [vec![Bytes::from(vec![b'x'; 10_000]); 10], Vec::new()] {
        let mut writer = topic.new_writer();
        writer.attributes().set("content-type", "text/plain");
        for chunk in chunks {
            writer.write(chunk).await?;
        }
        writer.close().await?;
    }
    for report in context.outbox().take() {
        let encoding = report.attributes.get("content-encoding").unwrap_or("none").to_owned();
        println!("published {} to {}, encoded as {encoding}", size_of(&report.body), report.topic);
        if let Err(error) = receiver.receive(Message::new(report.attributes, report.body)).await {
            println!("failed: {error}");
        }
    }
    println!("{} of 2 failed", failed.load(Ordering::Relaxed));
    Ok(())
}

fn size_of(body: &Bytes) -> &'static str {
    if body.len() < 1000 { "less than 1000 bytes" } else { "1000 bytes or more" }
}
