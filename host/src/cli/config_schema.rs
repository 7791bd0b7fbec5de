//! `wasmpost config-schema`: the JSON Schema of the configuration.

use clap::Args;

use super::{Failure, output};
use crate::config::Config;

/// Prints the JSON Schema of the configuration file.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wasmpost config-schema > wasmpost.schema.json")]
pub(super) struct ConfigSchema {}

impl ConfigSchema {
    pub(super) fn run(self) -> Result<(), Failure> {
        output::json(&Config::schema())
    }
}
