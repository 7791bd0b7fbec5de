//! `wasmpost queues`: what lies in each queue.

use std::collections::HashMap;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use wasmpost_delivery::{BreakerState, Clock, QueueStats, Timestamp};

use super::target::Target;
use super::{Failure, output};
use crate::host::ReceiverStatus;

/// Shows the numbers of messages in each queue.
///
/// Ready messages can be delivered now; delayed ones are not due yet; leased ones are in flight. A receiver that
/// faulted on five messages in a row is slowed: it gets one at a time, after a pause.
///
/// If the broker counts them, it also shows how many of the messages in flight were delivered before, and how many
/// consumers the queue has in all hosts.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wasmpost queues --json")]
pub(super) struct Queues {
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    stats: QueueStats,
    oldest_age_ms: Option<u64>,
    /// The status of the queue's receiver, from a running host.
    receiver: Option<ReceiverStatus>,
}

impl Queues {
    /// The receivers of the host that runs on this broker, by queue; none where no host runs.
    async fn receivers(&self) -> HashMap<String, ReceiverStatus> {
        let Ok(host) = self.target.host().await else { return HashMap::new() };
        let receivers = host.receivers().await.unwrap_or_default();
        receivers.into_iter().map(|receiver| (receiver.queue.clone(), receiver)).collect()
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        let broker = self.target.open_to_look().await?;
        let stats = broker.stats().await?;
        broker.close().await?;
        let receivers = self.receivers().await;
        let now = Clock::system().now();
        if self.json {
            let row = |stats: QueueStats| Row {
                oldest_age_ms: stats.oldest.map(|oldest| now.since(oldest).as_millis() as u64),
                receiver: receivers.get(&stats.queue).cloned(),
                stats,
            };
            return output::json(&stats.into_iter().map(row).collect::<Vec<_>>());
        }
        let columns = Columns::of(&stats);
        let row = |stats: &QueueStats| columns.cells(stats, receivers.get(&stats.queue), now);
        output::table(&columns.header(), &stats.iter().map(row).collect::<Vec<_>>());
        Ok(())
    }
}

/// The figures to show, beside those that every broker has.
#[derive(Clone, Copy)]
struct Columns {
    redelivered: bool,
    consumers: bool,
}

impl Columns {
    /// Those that some queue has.
    fn of(stats: &[QueueStats]) -> Self {
        Self {
            redelivered: stats.iter().any(|stats| stats.redelivered.is_some()),
            consumers: stats.iter().any(|stats| stats.consumers.is_some()),
        }
    }

    fn header(self) -> Vec<&'static str> {
        let own = [(self.redelivered, "REDELIVERED"), (self.consumers, "CONSUMERS")];
        let own = own.into_iter().filter_map(|(shown, name)| shown.then_some(name));
        let before = ["QUEUE", "READY", "DELAYED", "LEASED"].into_iter();
        before.chain(own).chain(["DEAD", "ACKED", "EXPIRED", "OLDEST", "RECEIVER"]).collect()
    }

    fn cells(self, stats: &QueueStats, receiver: Option<&ReceiverStatus>, now: Timestamp) -> Vec<String> {
        let own = [(self.redelivered, stats.redelivered), (self.consumers, stats.consumers)];
        let own = own.into_iter().filter(|(shown, _)| *shown).map(|(_, count)| count);
        // Ages to the second are all that people read.
        let age = stats.oldest.map(|oldest| Duration::from_secs(now.since(oldest).as_secs()));
        let age = age.map_or_else(|| "-".to_owned(), |age| humantime::format_duration(age).to_string());
        let before = [stats.ready, stats.delayed, stats.leased].map(Some).into_iter();
        let counts = before.chain(own).chain([stats.dead, stats.acked, stats.expired].map(Some));
        let counts = counts.map(|count| count.map_or_else(|| "-".to_owned(), |count| count.to_string()));
        [stats.queue.clone()].into_iter().chain(counts).chain([age, state(receiver)]).collect()
    }
}

fn state(receiver: Option<&ReceiverStatus>) -> String {
    let Some(receiver) = receiver else { return "-".to_owned() };
    let mut state = match receiver.breaker {
        BreakerState::Closed => "ok".to_owned(),
        BreakerState::Open { pause_ms } => {
            let pause = Duration::from_secs(pause_ms.div_ceil(1000));
            format!("slowed, pause {}", humantime::format_duration(pause))
        }
    };
    if receiver.given_back > 0 {
        state = format!("{state}, {} given back", receiver.given_back);
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(stats: &[QueueStats]) -> Vec<String> {
        let columns = Columns::of(stats);
        let now = Clock::manual().now();
        let rows = stats.iter().map(|stats| columns.cells(stats, None, now).join(" "));
        [columns.header().join(" ")].into_iter().chain(rows).collect()
    }

    fn stats(queue: &str, redelivered: Option<u64>, consumers: Option<u64>) -> QueueStats {
        QueueStats {
            queue: queue.into(),
            ready: 1,
            leased: 3,
            dead: 4,
            redelivered,
            consumers,
            ..QueueStats::default()
        }
    }

    #[test]
    fn figures_that_the_broker_does_not_tell_have_no_column() {
        let expected = ["QUEUE READY DELAYED LEASED DEAD ACKED EXPIRED OLDEST RECEIVER", "orders 1 0 3 4 0 0 - -"];
        assert_eq!(shown(&[stats("orders", None, None)]), expected);
        let expected =
            ["QUEUE READY DELAYED LEASED CONSUMERS DEAD ACKED EXPIRED OLDEST RECEIVER", "orders 1 0 3 2 4 0 0 - -"];
        assert_eq!(shown(&[stats("orders", None, Some(2))]), expected);
    }

    #[test]
    fn figures_that_the_broker_tells_of_some_queues_only_are_left_open_for_the_others() {
        let expected = [
            "QUEUE READY DELAYED LEASED REDELIVERED CONSUMERS DEAD ACKED EXPIRED OLDEST RECEIVER",
            "invoices 1 0 3 - - 4 0 0 - -",
            "orders 1 0 3 0 2 4 0 0 - -",
        ];
        assert_eq!(shown(&[stats("invoices", None, None), stats("orders", Some(0), Some(2))]), expected);
    }
}
