//! Piping from a queue whose file a host has open: the host moves the messages, for as long as the command is there.
//!
//! Between two places of one file the host does all of it, in one transaction for each message. Messages for another
//! broker are handed to the command, which publishes and confirms them before the host acknowledges them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, SinkExt};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use wasmpost_delivery::{
    Broker, BrokerError, BrokerErrorKind, Capabilities, DeadLetters, Queue, QueueSpec, QueueStats, Receipt,
};
use wasmpost_msg::Publication;

use super::protocol::{Frames, Response, WirePublication, broken, decode, encode};
use crate::moving::Moving;
use crate::view::View;

/// How many queues can be piped from one host at a time.
const PIPES_MAX: usize = 16;
/// The most messages of one pipe in flight.
const CONCURRENCY_MAX: usize = 256;
/// How often the host says how far it is.
const NEWS_INTERVAL: Duration = Duration::from_secs(5);
/// How long the other end may be silent, or take none of what is sent.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A command's request to move messages.
#[derive(Debug, Serialize, Deserialize)]
pub struct PipeOrder {
    /// The queue to take from.
    pub queue: String,
    /// The topics that it takes from beside that of its own name.
    pub topics: Vec<String>,
    /// The topic to write to.
    pub topic: String,
    /// Whether the topic is at another broker, which the command publishes to.
    pub elsewhere: bool,
    /// The most messages in flight.
    pub concurrency: usize,
    /// Whether to end once nothing is ready, delayed or in flight in the queue.
    pub until_empty: bool,
}

/// A report of the host while it moves messages.
#[derive(Debug, Serialize, Deserialize)]
enum News {
    /// So many were moved so far.
    Moved(u64),
    /// Publish this, and say under the number what came of it.
    Publish { number: u64, publications: Vec<WirePublication> },
    /// It is over.
    Ended { moved: u64, failed: Option<Response> },
}

/// An answer of the command meanwhile.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    /// The result of publishing.
    Published { number: u64, response: Response },
    /// Let what is in flight finish, and end.
    Stop,
    /// The command is still there.
    Here,
}

/// The queues that are piped from one broker now.
#[derive(Debug, Clone, Default)]
pub(super) struct Pipes(Arc<Mutex<BTreeSet<String>>>);

/// A place among them, given back when it is dropped.
struct Held {
    pipes: Pipes,
    queue: String,
}

/// Publications on their way to the command, each list with the way back for what came of it.
type Outgoing = (Vec<WirePublication>, oneshot::Sender<Result<Vec<Receipt>, BrokerError>>);

/// The broker at the command's end.
struct Elsewhere(mpsc::Sender<Outgoing>);

impl Pipes {
    fn hold(&self, queue: &str) -> Result<Held, BrokerError> {
        let mut queues = self.0.lock();
        let refused = |fault: String| Err(BrokerError::new(BrokerErrorKind::Invalid, fault));
        if queues.len() >= PIPES_MAX {
            return refused(format!("{PIPES_MAX} queues are piped from this host already; end one of those commands"));
        }
        if !queues.insert(queue.to_owned()) {
            return refused(format!("queue {queue:?} is piped already; end that command first"));
        }
        Ok(Held { pipes: self.clone(), queue: queue.to_owned() })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.pipes.0.lock().remove(&self.queue);
    }
}

/// The host's end: moves messages until it is done, or the command stops or goes away.
pub(super) async fn serve(
    frames: &mut Frames,
    broker: &dyn Broker,
    view: &dyn View,
    pipes: &Pipes,
    order: PipeOrder,
) -> anyhow::Result<()> {
    let receiver = view.receivers().into_iter().find(|receiver| receiver.queue == order.queue);
    let held = match receiver {
        Some(receiver) => {
            let queue = &order.queue;
            let receiver = receiver.receiver;
            let fault = format!("queue {queue:?} has receiver {receiver:?} in the host, and a queue has one receiver");
            Err(BrokerError::new(BrokerErrorKind::Invalid, fault))
        }
        None => pipes.hold(&order.queue),
    };
    let _held = match held {
        Ok(held) => held,
        Err(error) => return say(frames, &News::Ended { moved: 0, failed: Some(error.into()) }).await,
    };
    let (sender, outgoing) = mpsc::channel(1);
    let moving = Moving {
        queue: QueueSpec { topics: order.topics, ..QueueSpec::new(order.queue) },
        topic: order.topic,
        is_one_broker: !order.elsewhere,
        to: order.elsewhere.then(|| Arc::new(Elsewhere(sender)) as Arc<dyn Broker>),
        concurrency: order.concurrency.clamp(1, CONCURRENCY_MAX),
        until_empty: order.until_empty,
        share: Moving::share(),
    };
    let stop = CancellationToken::new();
    let gone = {
        let mut run = std::pin::pin!(moving.run(broker, stop.cancelled()));
        let talk = talk(frames, &moving, outgoing, &stop);
        tokio::select! {
            biased;
            ended = &mut run => Ok(ended),
            fault = talk => {
                // Nobody publishes any more; what is in flight goes back to the queue.
                stop.cancel();
                drop(run.await);
                Err(fault)
            }
        }
    };
    match gone {
        Ok(ended) => say(frames, &News::Ended { moved: moving.moved(), failed: ended.err().map(Response::from) }).await,
        Err(fault) => Err(fault),
    }
}

/// Carries publications to the command and answers back, until the command goes away.
async fn talk(
    frames: &mut Frames,
    moving: &Moving,
    mut outgoing: mpsc::Receiver<Outgoing>,
    stop: &CancellationToken,
) -> anyhow::Error {
    let mut waiting: BTreeMap<u64, oneshot::Sender<Result<Vec<Receipt>, BrokerError>>> = BTreeMap::new();
    let mut numbers = 0_u64..;
    let mut news = tokio::time::interval(NEWS_INTERVAL);
    let mut heard = tokio::time::Instant::now();
    loop {
        let said = tokio::select! {
            frame = frames.next() => match frame {
                Some(Ok(frame)) => {
                    heard = tokio::time::Instant::now();
                    match decode(&frame) {
                        Ok(Word::Published { number, response }) => {
                            if let Some(answer) = waiting.remove(&number) {
                                drop(answer.send(receipts(response)));
                            }
                            Ok(())
                        }
                        Ok(Word::Stop) => {
                            stop.cancel();
                            Ok(())
                        }
                        Ok(Word::Here) => Ok(()),
                        Err(error) => Err(error.into()),
                    }
                }
                Some(Err(error)) => Err(error.into()),
                None => Err(anyhow::anyhow!("the command went away")),
            },
            Some((publications, answer)) = outgoing.recv() => {
                let number = numbers.next().unwrap_or_default();
                // Messages that nobody waits for any more were given back to the queue.
                waiting.retain(|_, answer| !answer.is_closed());
                waiting.insert(number, answer);
                say(frames, &News::Publish { number, publications }).await
            }
            _ = news.tick() => match heard.elapsed() > SILENCE_MAX {
                true => Err(anyhow::anyhow!("the command said nothing for {SILENCE_MAX:?}")),
                false => say(frames, &News::Moved(moving.moved())).await,
            },
        };
        if let Err(fault) = said {
            return fault;
        }
    }
}

fn receipts(response: Response) -> Result<Vec<Receipt>, BrokerError> {
    match response.into_result()? {
        Response::Published(receipts) => Ok(receipts),
        _ => Err(broken("no receipts")),
    }
}

/// The command's end: publishes what comes to `to`, if it goes elsewhere, and gives how many messages were moved.
pub(super) async fn follow(
    frames: &mut Frames,
    to: Option<Arc<dyn Broker>>,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<Result<u64, BrokerError>> {
    let mut publishing = FuturesUnordered::new();
    let mut stop = std::pin::pin!(stop.fuse());
    let mut here = tokio::time::interval(NEWS_INTERVAL);
    let mut said = Ok(());
    loop {
        let word = tokio::select! {
            frame = tokio::time::timeout(SILENCE_MAX, frames.next()) => {
                let Some(frame) = frame? else {
                    said?;
                    anyhow::bail!("connection was closed");
                };
                let frame = frame?;
                match decode(&frame)? {
                    News::Moved(moved) => tracing::debug!(moved, "piping"),
                    News::Publish { number, publications } => {
                        let to = to.clone();
                        publishing.push(async move { Word::Published { number, response: publish(to, publications).await } });
                    }
                    News::Ended { moved, failed: None } => return Ok(Ok(moved)),
                    News::Ended { failed: Some(failed), .. } => {
                        return Ok(failed.into_result().and_then(|_| Err(broken("no error"))));
                    }
                }
                continue;
            }
            Some(word) = publishing.next() => word,
            () = &mut stop => Word::Stop,
            _ = here.tick() => Word::Here,
        };
        // A host that ends hears no more, but has said why before.
        if said.is_ok() {
            said = say(frames, &word).await;
        }
    }
}

async fn publish(to: Option<Arc<dyn Broker>>, publications: Vec<WirePublication>) -> Response {
    let Some(to) = to else { return broken("nothing was to be published").into() };
    let publications = publications.into_iter().map(Publication::from).collect();
    to.publish(publications).await.map_or_else(Response::from, Response::Published)
}

async fn say(frames: &mut Frames, what: &impl Serialize) -> anyhow::Result<()> {
    tokio::time::timeout(SILENCE_MAX, frames.send(encode(what)?)).await??;
    Ok(())
}

#[async_trait]
impl Broker for Elsewhere {
    /// Nothing is known of it.
    fn capabilities(&self) -> Capabilities {
        Capabilities { transactional_outbox: false, ..Capabilities::embedded() }
    }

    async fn queue(&self, _: QueueSpec) -> Result<Arc<dyn Queue>, BrokerError> {
        Err(unsupported())
    }

    async fn publish(&self, publications: Vec<Publication>) -> Result<Vec<Receipt>, BrokerError> {
        let gone = || BrokerError::new(BrokerErrorKind::Unavailable, "the command that publishes went away");
        let (answer, answered) = oneshot::channel();
        let publications = publications.into_iter().map(WirePublication::from).collect();
        self.0.send((publications, answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    async fn stats(&self) -> Result<Vec<QueueStats>, BrokerError> {
        Err(unsupported())
    }

    fn dead_letters(&self) -> Option<&dyn DeadLetters> {
        None
    }

    async fn close(&self) -> Result<(), BrokerError> {
        Ok(())
    }
}

fn unsupported() -> BrokerError {
    BrokerError::new(BrokerErrorKind::Unsupported, "a broker at the end of a pipe is published to only")
}
