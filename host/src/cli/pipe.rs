//! `wasmpost pipe`: moves messages from a queue to a topic, of one broker or of two.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use wasmpost_delivery::{Broker, QueueSpec, topic_name_fault};
use wasmpost_msg::{chain, counted};

use super::logging::Logging;
use super::signals::Signals;
use super::target::{Missing, Reached, Target};
use super::{Failure, output};
use crate::control::PipeOrder;
use crate::moving::Moving;

/// How long closing a broker may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Moves messages from a queue to a topic, of one broker or of two.
///
/// A message is acknowledged at the queue once the other side has confirmed it. It keeps its id, attributes, body and
/// ordering key; the rest of its time to live is not kept. A message that the other side cannot take now is tried again
/// until it can; one that it refuses for good becomes a dead letter of the queue.
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
    /// Another topic that the queue takes from, beside that of its own name. Name all topics that it is to keep.
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

impl Pipe {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let from = self.target(&self.from);
        let to = self.target(&self.to);
        let source = from.address()?;
        let destination = to.address()?;
        if self.from.name == self.to.name && source.is_same_broker(&destination) {
            let fault = "FROM and TO are one place: its messages would go in circles";
            return Err(Failure::usage(anyhow::anyhow!(fault)));
        }
        self.logging.start()?;
        let mut signals = Signals::new()?;
        let reached = from.open_for_more(Missing::Refused).await?;
        let elsewhere = match source.is_shared_with(&destination) {
            true => None,
            false => match to.open_for_more(Missing::Made).await {
                Ok(to) => Some(to.broker()),
                Err(failure) => {
                    close(&*reached.broker()).await;
                    return Err(failure);
                }
            },
        };
        let moved = self.serve(&reached, elsewhere.clone(), &mut signals).await;
        close(&*reached.broker()).await;
        if let Some(to) = elsewhere {
            close(&*to).await;
        }
        output::line(format_args!("moved {}", counted(moved?, "message")));
        Ok(())
    }

    fn target(&self, place: &Place) -> Target {
        Target::new(self.config.clone(), place.broker.clone())
    }

    /// Moves messages until the queue is empty, if that is asked for, or a signal comes. Gives how many were moved.
    async fn serve(&self, from: &Reached, to: Option<Arc<dyn Broker>>, signals: &mut Signals) -> Result<u64, Failure> {
        let concurrency = usize::from(self.concurrency.get());
        let until_empty = self.until_empty;
        match from {
            Reached::Own(from) => {
                // Without transactions of its own, a broker is published to before it is acknowledged at.
                let twice = (!from.capabilities().transactional_outbox).then(|| Arc::clone(from));
                let moving = Moving {
                    queue: QueueSpec { topics: self.topic.clone(), ..QueueSpec::new(&self.from.name) },
                    topic: self.to.name.clone(),
                    is_one_broker: to.is_none(),
                    to: to.or(twice),
                    concurrency,
                    until_empty,
                    share: Moving::share(),
                };
                moving.run(&**from, signals.next()).await?;
                Ok(moving.moved())
            }
            Reached::Host { host, .. } => {
                let order = PipeOrder {
                    queue: self.from.name.clone(),
                    topics: self.topic.clone(),
                    topic: self.to.name.clone(),
                    elsewhere: to.is_some(),
                    concurrency,
                    until_empty,
                };
                Ok(host.pipe(order, to, signals.next()).await?)
            }
        }
    }
}

async fn close(broker: &dyn Broker) {
    match tokio::time::timeout(CLOSE_TIMEOUT, broker.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(error = %chain(&error), "broker was not closed"),
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
