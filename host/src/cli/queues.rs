//! `wasmpost queues`: what lies in each queue.

use clap::Args;
use serde::Serialize;
use wasmpost_delivery::{Clock, QueueStats, Timestamp};

use super::target::Target;
use super::{Failure, output};

/// Shows what lies in each queue.
///
/// Ready messages could be delivered now; delayed ones are not due yet; leased ones are in flight.
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
}

impl Queues {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let broker = self.target.open(false).await?;
        let stats = broker.stats().await?;
        broker.close().await?;
        let now = Clock::system().now();
        if self.json {
            let row = |stats: QueueStats| Row {
                oldest_age_ms: stats.oldest.map(|oldest| now.since(oldest).as_millis() as u64),
                stats,
            };
            return output::json(&stats.into_iter().map(row).collect::<Vec<_>>());
        }
        let rows: Vec<_> = stats.into_iter().map(|stats| cells(stats, now)).collect();
        output::table(&["QUEUE", "READY", "DELAYED", "LEASED", "DEAD", "ACKED", "EXPIRED", "OLDEST"], &rows);
        Ok(())
    }
}

fn cells(stats: QueueStats, now: Timestamp) -> Vec<String> {
    let QueueStats { queue, ready, delayed, leased, dead, oldest, acked, expired } = stats;
    // Ages to the second are all that people read.
    let age = oldest.map(|oldest| std::time::Duration::from_secs(now.since(oldest).as_secs()));
    let age = age.map_or_else(|| "-".to_owned(), |age| humantime::format_duration(age).to_string());
    let counts = [ready, delayed, leased, dead, acked, expired].map(|count| count.to_string());
    [queue].into_iter().chain(counts).chain([age]).collect()
}
