//! The settings of `wasmpost dev` as they are written.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::DevConfig;
use super::raw::Source;

/// How `wasmpost dev` builds and tries the component; without effect elsewhere.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawDev {
    /// The shell command that builds the component, run in the directory of the project; found from its files unless given.
    build: Option<String>,
    /// The messages to send after each build, relative to this file: a directory or a file. `samples`, `samples.ndjson` or
    /// the cases in `tests`, where they exist, unless given.
    samples: Option<PathBuf>,
}

impl RawDev {
    pub(super) fn checked(self, source: &Source<'_>) -> DevConfig {
        DevConfig { build: self.build, samples: self.samples.map(|samples| source.resolved(&samples)) }
    }
}
