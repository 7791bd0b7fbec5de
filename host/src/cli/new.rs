//! `wasmpost new`: a project for a receiver.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::{Failure, output};
use crate::scaffold::{Example, Project, ProjectName, ScaffoldError, languages};

/// Makes a project for a receiver, which can be built, tried and run at once.
///
/// The project is a receiver that publishes each message as it is, to be changed into what is wanted, with the contract,
/// cases for wasmpost test, and a configuration for wasmpost run.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  wasmpost new billing --lang rust\n  wasmpost new triage --lang go --example webhooks"
)]
pub(super) struct New {
    /// The name of the project: letters, digits, - and _.
    name: ProjectName,
    /// The language.
    #[arg(long = "lang", value_name = "LANGUAGE", value_parser = PossibleValuesParser::new(languages()))]
    language: String,
    /// The example that the project begins with.
    #[arg(long, value_enum, default_value_t)]
    example: Example,
    /// The directory of the project [default: its name].
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl New {
    pub(super) fn run(self) -> Result<(), Failure> {
        let directory = self.directory.clone().unwrap_or_else(|| self.name.as_str().into());
        let project = Project::new(self.name, &self.language, self.example).map_err(Failure::usage)?;
        project.write(&directory).map_err(|error| match error {
            ScaffoldError::Write { .. } => Failure::failed(error),
            other => Failure::usage(other),
        })?;
        let place = directory.display();
        output::note(format_args!("made {place}; to build it, try it and run it:"));
        output::line(format_args!("  cd {place}"));
        for command in project.build_commands() {
            output::line(format_args!("  {command}"));
        }
        output::line("  wasmpost test tests");
        output::line(format_args!("  {}", project.invoke_command()));
        output::line("  wasmpost run");
        Ok(())
    }
}
