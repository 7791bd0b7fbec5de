//! Moving messages from a queue to a topic of the same broker or of another.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use wasmpost_delivery::{
    Broker, BrokerError, BrokerErrorKind, Forward, Queue, QueueServer, QueueServerOptions, QueueSpec, Share,
};
use wasmpost_msg::{Message, Publication, ReceiveError, Receiver, Server};

/// How long messages in flight may go on once moving is to end.
const GRACE: Duration = Duration::from_secs(25);
/// The largest body that is moved, in bytes: as large as any broker here takes.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Messages that are moved from a queue to a topic.
pub(crate) struct Moving {
    /// The queue.
    pub(crate) queue: QueueSpec,
    /// The topic.
    pub(crate) topic: String,
    /// Whether the topic is at the broker of the queue.
    pub(crate) is_one_broker: bool,
    /// The broker that is published to before a message is acknowledged. If none, the broker of the queue does both in
    /// one transaction.
    pub(crate) to: Option<Arc<dyn Broker>>,
    /// The most messages in flight.
    pub(crate) concurrency: usize,
    /// Whether it ends once nothing is ready, delayed or in flight in the queue.
    pub(crate) until_empty: bool,
    /// Counts the messages that were moved.
    pub(crate) share: Arc<Share>,
}

/// Hands every message on to a topic.
struct Mover {
    topic: String,
}

#[async_trait]
impl Receiver for Mover {
    async fn receive(&self, message: Message) -> Result<(), ReceiveError> {
        let Message { attributes, mut body, context } = message;
        let body = body.collect(BODY_BYTES_MAX).await.map_err(|error| ReceiveError::retry(error.to_string()))?;
        context.outbox().push(Publication::new(self.topic.clone(), attributes, body));
        Ok(())
    }
}

impl Moving {
    /// Counts what is moved.
    pub(crate) fn share() -> Arc<Share> {
        Arc::new(Share::new(usize::MAX, None))
    }

    /// How many messages were moved so far.
    pub(crate) fn moved(&self) -> u64 {
        self.share.used().acked
    }

    /// Moves messages until the queue is empty, if that is asked for, or `stop` comes.
    pub(crate) async fn run(&self, from: &dyn Broker, stop: impl Future<Output = ()>) -> Result<(), BrokerError> {
        if self.is_one_broker && self.queue.all_topics().contains(&self.topic) {
            let fault = "FROM takes from TO itself: its messages would go in circles";
            return Err(BrokerError::new(BrokerErrorKind::Invalid, fault));
        }
        let queue = from.queue(self.queue.clone()).await?;
        let options = QueueServerOptions {
            receiver: format!("pipe to {}", self.topic),
            concurrency: self.concurrency,
            share: Some(Arc::clone(&self.share)),
            forward: self.to.clone().map(Forward::to),
            keeps_id: true,
            ..QueueServerOptions::default()
        };
        let server = QueueServer::new(Arc::clone(&queue), options);
        let mut serving = std::pin::pin!(server.serve(Arc::new(Mover { topic: self.topic.clone() })));
        let unfinished = |fault: &dyn std::fmt::Display| {
            BrokerError::new(BrokerErrorKind::Unavailable, format!("queue {:?}: {fault}", self.queue.name))
        };
        let ended = tokio::select! {
            biased;
            served = &mut serving => return served.map(drop).map_err(|error| unfinished(&error)),
            () = stop => Ok(()),
            drained = drained(&*queue, self.until_empty) => drained,
        };
        let (stopped, _) = tokio::join!(server.shutdown(GRACE), serving);
        ended?;
        stopped.map(drop).map_err(|error| unfinished(&error))
    }
}

async fn drained(queue: &dyn Queue, until_empty: bool) -> Result<(), BrokerError> {
    if until_empty { queue.drained().await } else { std::future::pending().await }
}
