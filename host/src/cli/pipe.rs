//! `wasmpost pipe`: moves messages from a queue to a topic, of one broker or of two.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clap::Args;
use wasmpost_delivery::{Broker, Forward, Queue, QueueServer, QueueServerOptions, QueueSpec, Share, topic_name_fault};
use wasmpost_msg::{Message, Publication, ReceiveError, Receiver, Server};

use super::logging::Logging;
use super::signals::Signals;
use super::target::Target;
use super::{Failure, output};

/// How long messages in flight may go on once the command is told to stop.
const GRACE: Duration = Duration::from_secs(25);
/// How long closing a broker may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest body that is moved, in bytes: as large as any broker here takes.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Moves messages from a queue to a topic, of one broker or of two.
///
/// A message is acknowledged at the queue once the other side has confirmed it. It keeps its id, attributes, body and
/// ordering key; what is left of its time to live does not go along. What the other side cannot take now is tried again
/// until it can; what it refuses for good becomes a dead letter of the queue.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wasmpost pipe sqlite:wasmpost.db#orders nats://localhost:4222/wasmpost#orders --until-empty
  wasmpost pipe eu#orders us#orders.eu --config wasmpost.toml

A place is BROKER#NAME with the URL of a broker or its name in the configuration, or a NAME alone on the default
broker.")]
pub(super) struct Pipe {
    /// The queue to take from.
    #[arg(value_name = "[BROKER#]QUEUE")]
    from: Place,
    /// The topic to write to.
    #[arg(value_name = "[BROKER#]TOPIC")]
    to: Place,
    /// The configuration that names the brokers [default: wasmpost.toml, where there is one].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Another topic that the queue takes from, beside that of its own name. Name all that it is to go on taking from.
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,
    /// The most messages in flight.
    #[arg(long, value_name = "NUMBER", default_value = "64")]
    concurrency: std::num::NonZeroU16,
    /// End once nothing is ready, delayed or in flight in the queue.
    #[arg(long)]
    until_empty: bool,
    #[command(flatten)]
    logging: Logging,
}

/// A queue or topic of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    broker: Option<String>,
    name: String,
}

/// Hands every message on to a topic.
struct Mover {
    topic: String,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (broker, name) = match text.rsplit_once('#') {
            Some((broker, name)) => (Some(broker.to_owned()), name),
            None => (None, text),
        };
        match topic_name_fault(name) {
            Some(fault) => Err(format!("{fault}; write NAME, or BROKER#NAME with the name or URL of a broker")),
            None => Ok(Self { broker, name: name.to_owned() }),
        }
    }
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

impl Pipe {
    pub(super) async fn run(self) -> Result<(), Failure> {
        if self.from == self.to {
            let fault = "FROM and TO are one place: its messages would go in circles";
            return Err(Failure::usage(anyhow::anyhow!(fault)));
        }
        self.logging.start()?;
        let mut signals = Signals::new()?;
        let from = self.open(&self.from, false).await?;
        let to = match self.open(&self.to, true).await {
            Ok(to) => to,
            Err(failure) => {
                close(&*from).await;
                return Err(failure);
            }
        };
        let moved = self.serve(&from, &to, &mut signals).await;
        close(&*from).await;
        close(&*to).await;
        output::line(format_args!("moved {} messages", moved?));
        Ok(())
    }

    async fn open(&self, place: &Place, make: bool) -> Result<Arc<dyn Broker>, Failure> {
        Target::new(self.config.clone(), place.broker.clone()).open(make).await
    }

    /// Moves messages until the queue is empty, if that is asked for, or a signal comes. Gives how many were moved.
    async fn serve(&self, from: &Arc<dyn Broker>, to: &Arc<dyn Broker>, signals: &mut Signals) -> Result<u64, Failure> {
        let spec = QueueSpec { topics: self.topic.clone(), ..QueueSpec::new(&self.from.name) };
        let queue = from.queue(spec).await?;
        let share = Arc::new(Share::new(usize::MAX, None));
        let options = QueueServerOptions {
            receiver: format!("pipe to {}", self.to.name),
            concurrency: usize::from(self.concurrency.get()),
            share: Some(Arc::clone(&share)),
            forward: Some(Forward { broker: Arc::clone(to), keeps_id: true }),
            ..QueueServerOptions::default()
        };
        let server = QueueServer::new(Arc::clone(&queue), options);
        let mut serving = std::pin::pin!(server.serve(Arc::new(Mover { topic: self.to.name.clone() })));
        let until_empty = self.until_empty;
        let ended = tokio::select! {
            biased;
            served = &mut serving => return served.map(|_| share.used().acked).map_err(Failure::failed),
            () = signals.next() => Ok(()),
            drained = drained(&*queue, until_empty) => drained.map_err(Failure::from),
        };
        let (stopped, _) = tokio::join!(server.shutdown(GRACE), serving);
        ended?;
        stopped.map_err(Failure::failed)?;
        Ok(share.used().acked)
    }
}

async fn drained(queue: &dyn Queue, until_empty: bool) -> Result<(), wasmpost_delivery::BrokerError> {
    if until_empty { queue.drained().await } else { std::future::pending().await }
}

async fn close(broker: &dyn Broker) {
    match tokio::time::timeout(CLOSE_TIMEOUT, broker.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "broker was not closed"),
        Err(_) => tracing::error!("closing the broker took too long"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_name_with_or_without_a_broker() {
        let place = |text: &str| text.parse::<Place>().map(|place| (place.broker, place.name));
        assert_eq!(place("orders"), Ok((None, "orders".into())));
        assert_eq!(place("eu#@acme/orders"), Ok((Some("eu".into()), "@acme/orders".into())));
        assert_eq!(place("sqlite:a#b.db#orders"), Ok((Some("sqlite:a#b.db".into()), "orders".into())));
        assert!(place("eu#").is_err() && place("a b").is_err());
    }
}
