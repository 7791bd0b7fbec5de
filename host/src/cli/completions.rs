//! `wasmpost completions`: what a shell needs to complete commands.

use clap::Args;
use clap_complete::Shell;

use super::{Failure, command, output};

/// Prints completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wasmpost completions bash > ~/.local/share/bash-completion/completions/wasmpost")]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command(), "wasmpost", &mut script);
        output::raw(&script);
        Ok(())
    }
}
