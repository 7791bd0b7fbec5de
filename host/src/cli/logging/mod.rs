//! The log of a host: for people on a terminal, as JSON otherwise.

mod human;
mod json;
mod layer;
mod line;
mod sums;
mod writer;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write, stderr};
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::human::Colours;
use self::layer::{Log, Look, Repeats};
use self::line::Line;
use self::writer::Writer;
use super::Failure;

/// How the log looks.
#[derive(Debug, Args)]
pub(super) struct Logging {
    /// The level of the log (error, warn, info, debug, trace), or filters such as warn,wasmpost::guest=info. With
    /// debug, equal lines are not summed.
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
/// How long the end of the process waits for the log to be written.
const END_MAX: Duration = Duration::from_secs(1);

/// The log, once it is started.
static LOG: OnceLock<Log> = OnceLock::new();

impl Logging {
    /// A log of this filter, in lines of text.
    pub(super) fn for_people(filter: &str) -> Self {
        Self { log: filter.to_owned(), log_format: Format::Human }
    }

    /// Sends the log to standard error from now on.
    pub(super) fn start(&self) -> Result<(), Failure> {
        let filter = EnvFilter::try_new(format!("{TOLD},{}", self.log))
            .and_then(|filter| Ok(filter.add_directive(BODIES.parse()?)));
        let filter = filter.map_err(|error| {
            Failure::usage(anyhow::anyhow!("--log {:?} is not a level or filter: {error}", self.log))
        })?;
        let terminal = stderr().is_terminal();
        let is_json = self.log_format == Format::Json || self.log_format == Format::Auto && !terminal;
        let look = match (is_json, terminal) {
            (true, _) => Look::Json,
            (false, true) => Look::Human(Colours::On),
            (false, false) => Look::Human(Colours::Off),
        };
        let log = Log { look, repeats: repeats(&self.log), writer: Writer::default(), sums: Arc::default() };
        log.writer.start(StandardError, log.clone())?;
        let log = LOG.get_or_init(|| log);
        std::panic::set_hook(Box::new(|panic| log_panic(log, panic)));
        let started = tracing_subscriber::registry().with(filter).with(log.clone()).try_init();
        started.map_err(|error| Failure::failed(anyhow::anyhow!("log could not be started: {error}")))
    }
}

/// With debug, every line is written. Lines of guests have no influence on that.
fn repeats(filter: &str) -> Repeats {
    let asks = |directive: &str| {
        let directive = directive.trim().to_ascii_lowercase();
        !directive.starts_with("wasmpost::guest") && (directive.ends_with("debug") || directive.ends_with("trace"))
    };
    if filter.split(',').any(asks) { Repeats::Written } else { Repeats::Summed }
}

/// Hands a note to the log if there is one, so that nobody waits for it to be written either.
pub(super) fn note(text: &str) -> bool {
    let log = LOG.get();
    if let Some(log) = log {
        log.writer.push(format!("{text}\n").as_bytes());
    }
    log.is_some()
}

/// Writes what is left of the log, as far as that can be done soon.
pub(super) fn end() {
    if let Some(log) = LOG.get() {
        log.end(Instant::now() + END_MAX);
    }
}

/// Tells of a panic as the log tells of everything.
fn log_panic(log: &Log, panic: &std::panic::PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let text = panic.payload_as_str().unwrap_or("something that is no text");
    let mut line = Line::new(Level::ERROR, "wasmpost::panic", Some(format!("panicked: {text}")))
        .with("thread", thread.name().unwrap_or("unnamed"));
    if let Some(location) = panic.location() {
        line = line.with("location", location.to_string());
    }
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        line = line.with("backtrace", backtrace.to_string());
    }
    log.write(&line);
}

/// Standard error without the lock that the standard library has on it: whoever else writes there need not wait for a
/// reader that stands still.
struct StandardError;

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(stderr().as_fd(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
