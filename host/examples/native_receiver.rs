//! A receiver in Rust, without WebAssembly: a queue in memory, a server, and every way in which a message can end.
#![allow(clippy::print_stdout)] // An example shows its steps.

use std::sync::Arc;
use std::time::Duration;

use wasmpost::delivery::memory::{MemoryBroker, MemoryOptions};
use wasmpost::delivery::{Broker, DeadLetterFilter, QueueServer, QueueServerOptions, QueueSpec, RetryPolicy};
use wasmpost::msg::{Attributes, Message, Publication, ReceiveError, ReceiverFunc, Server};

/// The largest body that the receiver takes, in bytes.
const BODY_BYTES_MAX: usize = 1024;

async fn receive(mut message: Message) -> Result<(), ReceiveError> {
    let body = message.body.collect(BODY_BYTES_MAX).await;
    let body = body.map_err(|error| ReceiveError::reject(error.to_string()))?;
    let attempt = message.context.attempt();
    match &*body {
        b"flaky" if attempt == 1 => Err(ReceiveError::retry("not this time")),
        b"broken" => Err(ReceiveError::reject("no attempt can help")),
        body => {
            println!("processed {} at attempt {attempt}", String::from_utf8_lossy(body));
            Ok(())
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let broker = MemoryBroker::new(MemoryOptions::default());
    let queue = broker.queue(QueueSpec::new("jobs")).await?;
    let jobs = ["good", "flaky", "broken"].map(|body| Publication::new("jobs", Attributes::new(), body));
    broker.publish(jobs.into()).await?;

    let retry = RetryPolicy { backoff_first: Duration::from_millis(10), ..RetryPolicy::default() };
    let options = QueueServerOptions { receiver: "example".into(), retry, ..QueueServerOptions::default() };
    let server = Arc::new(QueueServer::new(Arc::clone(&queue), options));
    let serving = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.serve(Arc::new(ReceiverFunc(receive))).await }
    });

    // Nothing is ready, delayed or leased any more: each message was acknowledged or dead-lettered.
    queue.drained().await?;
    server.shutdown(Duration::from_secs(5)).await?;
    serving.await??;
    if let Some(letters) = broker.dead_letters() {
        for letter in letters.show(&DeadLetterFilter::default(), 0, 10).await? {
            let body = String::from_utf8_lossy(&letter.body);
            println!("dead-lettered {body}: {}: {}", letter.evidence.reason, letter.evidence.error);
        }
    }
    Ok(())
}
