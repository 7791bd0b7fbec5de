//! `wasmpost reload`: has a running host take up components that have changed.

use clap::Args;
use wasmpost_msg::counted;

use super::target::Target;
use super::{Failure, output};

/// Tells a running host to load every component whose file has changed.
///
/// Messages in flight end with the component that they began with. Where a new component is refused, the old one goes
/// on; the exit code is then 1. SIGHUP does the same.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  cp build/triage.wasm triage.wasm && wasmpost reload")]
pub(super) struct Reload {
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl Reload {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let components = self.target.host().await?.reload().await?;
        let refused = components.iter().filter(|component| component.error.is_some()).count();
        if self.json {
            output::json(&components)?;
        } else {
            for component in &components {
                let outcome = &component.outcome;
                let file = &component.component;
                let receivers = component.receivers.join(", ");
                let why = component.error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
                output::line(format_args!("{outcome:<9}  {file} ({receivers}){why}"));
            }
        }
        if refused > 0 {
            return Err(Failure::failed(anyhow::anyhow!(
                "refused {}; old versions serve on",
                counted(refused, "component")
            )));
        }
        Ok(())
    }
}
