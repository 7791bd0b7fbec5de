//! `wasmpost logs`: the last lines that a component wrote, and those that it writes.

use std::time::Duration;

use clap::Args;
use wasmpost_delivery::Timestamp;

use super::signals::Signals;
use super::target::Target;
use super::{Failure, output};
use crate::kept::KeptLine;

/// How often a host is asked for more lines.
const PAUSE: Duration = Duration::from_millis(300);
/// How many lines are asked for at a time.
const LINES: usize = 500;

/// Shows the last lines that the component of a receiver wrote.
///
/// A running host keeps the last 500 lines of each receiver, up to 128 KiB of them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wasmpost logs webhooks
  wasmpost logs webhooks --follow")]
pub(super) struct Logs {
    /// The name of the receiver.
    receiver: String,
    /// Go on with the lines that it writes, until interrupted.
    #[arg(long)]
    follow: bool,
    /// Print a line of JSON for each.
    #[arg(long)]
    json: bool,
    /// The most lines of those that are kept.
    #[arg(long, value_name = "NUMBER", default_value_t = LINES)]
    max: usize,
    #[command(flatten)]
    target: Target,
}

impl Logs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut signals = Signals::new()?;
        let host = self.target.host().await?;
        let mut max = self.max.min(LINES);
        let mut after = 0;
        loop {
            let Some(lines) = host.logs(&self.receiver, after, max).await? else {
                let receiver = &self.receiver;
                return Err(Failure::failed(anyhow::anyhow!("the host has no receiver {receiver:?}")));
            };
            for line in &lines {
                self.show(line)?;
                after = line.number;
            }
            max = LINES;
            if !self.follow {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = signals.next() => return Ok(()),
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    fn show(&self, line: &KeptLine) -> Result<(), Failure> {
        if self.json {
            return output::json_line(line);
        }
        let at = output::time(Timestamp(line.at_ms));
        let KeptLine { level, source, message, context, text, .. } = line;
        let context = if context.is_empty() { String::new() } else { format!("{context}: ") };
        output::line(format_args!("{at} {level:<8} {source:<7} {message} {context}{text}"));
        Ok(())
    }
}
