//! `wasmpost queues`: what lies in each queue.

use std::collections::HashMap;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use wasmpost_delivery::{BreakerState, Clock, QueueStats, Timestamp};

use super::target::Target;
use super::{Failure, output};
use crate::host::ReceiverStatus;

/// Shows what lies in each queue.
///
/// Ready messages could be delivered now; delayed ones are not due yet; leased ones are in flight. A receiver that
/// faulted on five messages in a row is slowed: it gets one at a time, after a pause.
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
    /// What a running host tells of the queue's receiver.
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
        let broker = self.target.open(false).await?;
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
        let rows: Vec<_> = stats
            .into_iter()
            .map(|stats| {
                let receiver = receivers.get(&stats.queue);
                cells(stats, receiver, now)
            })
            .collect();
        output::table(
            &["QUEUE", "READY", "DELAYED", "LEASED", "DEAD", "ACKED", "EXPIRED", "OLDEST", "RECEIVER"],
            &rows,
        );
        Ok(())
    }
}

fn cells(stats: QueueStats, receiver: Option<&ReceiverStatus>, now: Timestamp) -> Vec<String> {
    let QueueStats { queue, ready, delayed, leased, dead, oldest, acked, expired, .. } = stats;
    // Ages to the second are all that people read.
    let age = oldest.map(|oldest| std::time::Duration::from_secs(now.since(oldest).as_secs()));
    let age = age.map_or_else(|| "-".to_owned(), |age| humantime::format_duration(age).to_string());
    let counts = [ready, delayed, leased, dead, acked, expired].map(|count| count.to_string());
    [queue].into_iter().chain(counts).chain([age, state(receiver)]).collect()
}

fn state(receiver: Option<&ReceiverStatus>) -> String {
    match receiver.map(|receiver| receiver.breaker) {
        None => "-".to_owned(),
        Some(BreakerState::Closed) => "ok".to_owned(),
        Some(BreakerState::Open { pause_ms }) => {
            let pause = Duration::from_secs(pause_ms.div_ceil(1000));
            format!("slowed, pause {}", humantime::format_duration(pause))
        }
    }
}
