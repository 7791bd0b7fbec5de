//! `wasmpost compile-component`: what a host starts to compile one component, with limits of its own.

use clap::Args;

use super::Failure;

/// Compiles the component on standard input for the host that started this.
#[derive(Debug, Args)]
pub(super) struct CompileComponent {
    /// Settings of the host.
    settings: Vec<String>,
}

impl CompileComponent {
    pub(super) fn run(self) -> Result<(), Failure> {
        wasmpost_sandbox::compile_for_parent(&self.settings).map_err(Failure::usage)
    }
}
