//! Publishing with confirms: what is to be sent is collected while a batch is under way, and sent as the next.
//!
//! Each lane has one batch under way on a channel of its own. A message that the broker returns, because no queue takes
//! it, is told apart by its number in the batch.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::{Mutex, mpsc, oneshot};
use wasmpost_delivery::{BrokerError, BrokerErrorKind};
use wasmpost_msg::chain;

use crate::envelope::Envelope;
use crate::error::{answered, closed, unavailable};
use crate::link::Link;
use crate::names::{self, short};

/// How many batches can be under way at a time.
const LANES: usize = 4;
/// How many callers can wait for a batch; more wait for room.
const JOBS_MAX: usize = 256;
/// The bounds of a batch.
const BATCH_MESSAGES: usize = 256;
/// A larger message goes alone: if the broker refuses it for its size, nothing else fails with it.
const BATCH_BYTES: usize = 1 << 20;

/// A message on its way.
pub(crate) struct Outgoing {
    exchange: ShortString,
    routing_key: ShortString,
    properties: BasicProperties,
    body: Bytes,
}

pub(crate) struct Publisher {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    messages: Vec<Outgoing>,
    reply: oneshot::Sender<Result<(), BrokerError>>,
}

struct Lane {
    link: Arc<Link>,
    jobs: Arc<Mutex<mpsc::Receiver<Job>>>,
    channel: Option<Channel>,
    /// Taken from the queue of jobs, but too much for the batch before.
    left: Option<Job>,
}

impl Outgoing {
    /// To its topic.
    pub(crate) fn to_topic(envelope: &Envelope) -> Self {
        let (properties, body) = envelope.encoded();
        let exchange = names::topic(&envelope.head.topic);
        Self { exchange, routing_key: short(&envelope.head.topic), properties, body }
    }

    /// To one queue.
    pub(crate) fn to_queue(queue: ShortString, envelope: &Envelope) -> Self {
        let (properties, body) = envelope.encoded();
        Self { exchange: ShortString::default(), routing_key: queue, properties, body }
    }
}

impl Publisher {
    /// Its lanes end when it is dropped or the broker is closed.
    pub(crate) fn start(link: &Arc<Link>) -> Self {
        let (sender, receiver) = mpsc::channel(JOBS_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..LANES {
            let lane = Lane { link: Arc::clone(link), jobs: Arc::clone(&receiver), channel: None, left: None };
            tokio::spawn(link.closed().clone().run_until_cancelled_owned(lane.run()));
        }
        Self { jobs: sender }
    }

    /// Sends messages and waits until the broker has all of them safe. After an error, some may be there.
    pub(crate) async fn send(&self, messages: Vec<Outgoing>) -> Result<(), BrokerError> {
        if messages.is_empty() {
            return Ok(());
        }
        let (reply, confirmed) = oneshot::channel();
        self.jobs.send(Job { messages, reply }).await.map_err(|_| closed())?;
        confirmed.await.map_err(|_| closed())?
    }
}

impl Lane {
    async fn run(mut self) {
        while let Some(batch) = self.next_batch().await {
            let outcome = self.publish(&batch).await;
            let mut number = 0;
            for job in batch {
                let numbers = number..number + job.messages.len();
                number = numbers.end;
                let told = match &outcome {
                    Ok(returned) => match numbers.into_iter().find(|number| returned.contains(number)) {
                        Some(_) => Err(unavailable("published message was returned: RabbitMQ has no queue for it")),
                        None => Ok(()),
                    },
                    Err((kind, text)) => Err(BrokerError::new(*kind, text.clone())),
                };
                // The caller may not wait any more.
                drop(job.reply.send(told));
            }
        }
    }

    async fn next_batch(&mut self) -> Option<Vec<Job>> {
        let jobs = Arc::clone(&self.jobs);
        let first = match self.left.take() {
            Some(job) => job,
            None => jobs.lock().await.recv().await?,
        };
        let mut messages = first.messages.len();
        let mut bytes = first.bytes();
        let mut batch = vec![first];
        let Ok(mut jobs) = jobs.try_lock() else { return Some(batch) };
        while messages < BATCH_MESSAGES && bytes < BATCH_BYTES {
            let Ok(job) = jobs.try_recv() else { break };
            messages += job.messages.len();
            bytes += job.bytes();
            if messages > BATCH_MESSAGES || bytes > BATCH_BYTES {
                self.left = Some(job);
                break;
            }
            batch.push(job);
        }
        Some(batch)
    }

    /// The numbers of those that were returned.
    async fn publish(&mut self, batch: &[Job]) -> Result<HashSet<usize>, (BrokerErrorKind, String)> {
        let told = |error: &BrokerError| (error.kind(), chain(error).to_string());
        self.link.check_room().await.map_err(|error| told(&error))?;
        let channel = match self.channel.take().filter(|channel| channel.status().connected()) {
            Some(channel) => channel,
            None => self.link.confirming().await.map_err(|error| told(&error))?,
        };
        let messages: Vec<_> = batch.iter().flat_map(|job| &job.messages).collect();
        match send(&channel, &messages).await {
            Ok(returned) => {
                self.channel = Some(channel);
                Ok(returned)
            }
            // A message that was refused alone is at fault itself; a topic that is gone is made anew for the next try.
            Err(error) => match error.kind() {
                BrokerErrorKind::Invalid if messages.len() == 1 => Err(told(&error)),
                _ if self.link.check_room().await.is_err_and(|error| error.kind() == BrokerErrorKind::Full) => {
                    Err((BrokerErrorKind::Full, told(&error).1))
                }
                _ => Err((BrokerErrorKind::Unavailable, told(&error).1)),
            },
        }
    }
}

impl Job {
    fn bytes(&self) -> usize {
        self.messages.iter().map(|message| message.body.len()).sum()
    }
}

async fn send(channel: &Channel, messages: &[&Outgoing]) -> Result<HashSet<usize>, BrokerError> {
    let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let sending = messages.iter().enumerate().map(|(number, message)| {
        let properties = message.properties.clone().with_correlation_id(short(number));
        let exchange = message.exchange.clone();
        let key = message.routing_key.clone();
        channel.basic_publish(exchange, key, mandatory, &message.body, properties)
    });
    let sent = answered("publishing", try_join_all(sending)).await?;
    let confirmed = answered("waiting for confirms", async { Ok(join_all(sent).await) }).await?;
    let mut returned = HashSet::new();
    for confirmation in confirmed {
        let confirmation = confirmation.map_err(|error| crate::error::failed("publishing", &error))?;
        if confirmation.is_nack() || confirmation == Confirmation::NotRequested {
            return Err(unavailable("RabbitMQ did not store the messages"));
        }
        if let Some(message) = confirmation.take_message() {
            let number = message.delivery.properties.correlation_id().as_ref().and_then(|id| id.as_str().parse().ok());
            returned.insert(number.unwrap_or(0));
        }
    }
    Ok(returned)
}
