//! `wasmpost check`: whether a configuration would serve.

use std::path::PathBuf;

use clap::Args;
use wasmpost_sandbox::Sandbox;

use super::target::DEFAULT_CONFIG;
use super::{Failure, output};
use crate::config::Config;
use crate::host::load_components;

/// Checks a configuration and loads every component, without serving.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wasmpost check --config wasmpost.toml")]
pub(super) struct Check {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = Config::load(&self.config)?;
        let sandbox = Sandbox::new(config.engine.clone()).map_err(Failure::usage)?;
        let components = load_components(&sandbox, &config)?;
        for receiver in &config.receivers {
            let needs = components.get(&receiver.component).map(|loaded| loaded.needs()).unwrap_or_default();
            let (name, can) = (&receiver.name, |what: &str| needs.iter().any(|need| need.contains(what)));
            if can("topics") && receiver.grants.publish.is_empty() {
                output::note(format_args!(
                    "receiver {name:?} can publish, but is granted no topic: see publish = [...]"
                ));
            }
            if can("origins") && receiver.grants.http.is_empty() {
                output::note(format_args!(
                    "receiver {name:?} can send HTTP requests, but is granted no origin: see http = [...]"
                ));
            }
        }
        let (receivers, components) = (config.receivers.len(), components.len());
        output::line(format_args!("{}: ok, {receivers} receivers, {components} components", self.config.display()));
        Ok(())
    }
}
