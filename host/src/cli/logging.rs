//! The log of a host: for people on a terminal, as JSON otherwise.

use std::io::{IsTerminal, stderr};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::Failure;

/// How the log looks.
#[derive(Debug, Args)]
pub(super) struct Logging {
    /// What is logged: a level (error, warn, info, debug, trace), or filters such as warn,wasmpost::guest=info.
    #[arg(long, env = "WASMPOST_LOG", default_value = "info", value_name = "FILTER", help_heading = "Log")]
    log: String,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = Format::Auto, help_heading = "Log")]
    log_format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people on a terminal, JSON otherwise.
    Auto,
    /// A line of text for each event.
    Human,
    /// A line of JSON for each event.
    Json,
}

/// The client of RabbitMQ logs what the host tells itself, unless it is asked for.
const TOLD: &str = "lapin=off";
/// It writes messages that come back whole, and bodies are not logged.
const BODIES: &str = "lapin::returned_messages=off";

impl Logging {
    /// Sends the log to standard error from now on.
    pub(super) fn start(&self) -> Result<(), Failure> {
        let filter = EnvFilter::try_new(format!("{TOLD},{}", self.log))
            .and_then(|filter| Ok(filter.add_directive(BODIES.parse()?)));
        let filter = filter.map_err(|error| {
            Failure::usage(anyhow::anyhow!("--log {:?} is not a level or filter: {error}", self.log))
        })?;
        let terminal = stderr().is_terminal();
        let is_json = self.log_format == Format::Json || self.log_format == Format::Auto && !terminal;
        // What cannot be written, on a full disk for example, is lost. Telling that in the same place would panic.
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(terminal);
        let subscriber = subscriber.log_internal_errors(false);
        let started = if is_json {
            subscriber.json().flatten_event(true).try_init()
        } else {
            subscriber.with_target(false).try_init()
        };
        started.map_err(|error| Failure::failed(anyhow::anyhow!("log could not be started: {error}")))
    }
}
