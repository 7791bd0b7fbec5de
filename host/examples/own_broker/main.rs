//! A broker of your own under the server of the library: the least that one has to do is beside this file.
//! One that is meant to last keeps dead letters and waits before it delivers again; the conformance suite of
//! `wasmpost-delivery` tells what else is promised.
#![allow(clippy::print_stdout)] // An example shows its steps.

mod fifo;
mod lease;
mod queue;

use std::sync::Arc;
use std::time::Duration;

use fifo::Fifo;
use wasmpost::delivery::{Broker, QueueServer, QueueServerOptions, QueueSpec};
use wasmpost::msg::{Attributes, Message, Publication, ReceiveError, ReceiverFunc, Server, Topic};

/// Fails once, publishes a message of its own at the second attempt, and takes that as well.
async fn receive(message: Message) -> Result<(), ReceiveError> {
    let attempt = message.context.attempt();
    if message.attributes.get("reply").is_some() {
        println!("received the reply at attempt {attempt}");
        return Ok(());
    }
    if attempt == 1 {
        println!("failing attempt 1");
        return Err(ReceiveError::retry("not this time"));
    }
    println!("publishing a reply at attempt {attempt}");
    let mut writer = message.context.topic("fifo").new_writer();
    writer.attributes().set("reply", "yes");
    writer.close().await.map_err(|error| ReceiveError::retry(error.to_string()))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let broker = Fifo::default();
    let queue = broker.queue(QueueSpec::new("fifo")).await?;
    broker.publish(vec![Publication::new("fifo", Attributes::new(), "hello")]).await?;

    let server = Arc::new(QueueServer::new(Arc::clone(&queue), QueueServerOptions::default()));
    let serving = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.serve(Arc::new(ReceiverFunc(receive))).await }
    });
    queue.drained().await?;
    server.shutdown(Duration::from_secs(5)).await?;
    serving.await??;
    println!("{} messages are left", broker.stats().await?.iter().map(|queue| queue.ready).sum::<u64>());
    Ok(())
}
