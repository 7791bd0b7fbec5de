//! `wasmpost tenants`: what each tenant of a running host used.

use std::time::Duration;

use clap::Args;
use wasmpost_sandbox::Size;

use super::target::Target;
use super::{Failure, output};
use crate::host::TenantStatus;

/// Shows the resources that each tenant used since its host started.
///
/// Receivers without a tenant are summed in a line of their own.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wasmpost tenants --json")]
pub(super) struct Tenants {
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl Tenants {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let tenants = self.target.host().await?.tenants().await?;
        if self.json {
            return output::json(&tenants);
        }
        let rows: Vec<_> = tenants.into_iter().map(cells).collect();
        let header = [
            "TENANT",
            "RECEIVERS",
            "IN FLIGHT",
            "DELIVERIES",
            "ACKED",
            "FAILED",
            "DEAD",
            "GIVEN BACK",
            "CPU",
            "WALL",
            "MEMORY",
            "MEMORY PEAK",
            "TOPICS",
            "PUBLISHED",
            "BYTES",
        ];
        output::table(&header, &rows);
        Ok(())
    }
}

fn cells(status: TenantStatus) -> Vec<String> {
    let used = status.used;
    let topics = status.topics_max.map_or_else(|| "-".to_owned(), |max| format!("{} of {max}", status.topics));
    // Fractions of a millisecond are all that people read.
    let short = |duration: Duration| format!("{:?}", Duration::from_micros(duration.as_micros() as u64 / 100 * 100));
    vec![
        status.tenant.unwrap_or_else(|| "-".to_owned()),
        status.receivers.to_string(),
        status.in_flight.to_string(),
        used.deliveries.to_string(),
        used.acked.to_string(),
        used.failed.to_string(),
        used.dead.to_string(),
        used.given_back.to_string(),
        short(used.cpu),
        short(used.wall),
        Size(status.memory_bytes).to_string(),
        Size(used.memory_peak_bytes).to_string(),
        topics,
        used.published_messages.to_string(),
        Size(used.published_bytes).to_string(),
    ]
}
