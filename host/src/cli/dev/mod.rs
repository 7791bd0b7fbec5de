//! `wasmpost dev`: builds a component whenever its sources change, and shows how it handles messages.

mod build;
mod ignored;
mod project;
mod samples;
mod session;
mod show;
mod sources;

use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use wasmpost_sandbox::{HttpOrigin, Span, TopicPattern};

use self::project::Project;
use self::session::Session;
use self::sources::{Changes, Sources};
use super::logging::Logging;
use super::signals::Signals;
use super::{Failure, output};

/// The log beside what is shown: nothing about deliveries, and nothing that components log.
const LOG: &str = "warn,wasmpost_delivery::server::settle=error,wasmpost::guest=off";
/// The beginning of the names of temporary directories.
const PLACE: &str = "wasmpost-dev-";

/// Builds a component whenever its sources change, and shows how it handles messages.
///
/// It watches a project of wasmpost new, or any directory with a command that builds a component. After each build it loads
/// the component, sends the samples, and shows each message once it is handled: its id, the verdict, the time it took, the
/// messages that the component published, and its log lines. Errors of a build are shown as they are, and the component
/// from before serves on. Messages of wasmpost publish are shown as well. Queues are files in a temporary directory.
/// SIGINT ends it, and a build with it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wasmpost dev
  wasmpost dev billing --samples billing/messages.ndjson
  wasmpost dev --build 'make receiver' --component out/receiver.wasm --publish 'github.*'

Samples are a directory or a file. A file NAME.toml is a case of wasmpost test, of which the message counts; a file
NAME.ndjson has a message on each line, as for wasmpost publish; any other file is the body of a message.")]
pub(super) struct Dev {
    /// The directory of the project.
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// The configuration [default: wasmpost.toml in DIR].
    #[arg(long, value_name = "FILE", conflicts_with_all = ["component", "publish", "http"])]
    config: Option<PathBuf>,
    /// The command of the shell that builds the component, run in DIR [default: as configured, or ./build.sh, cargo build,
    /// make or npm run build, by the files in DIR].
    #[arg(long, value_name = "COMMAND")]
    build: Option<String>,
    /// How long a build may take.
    #[arg(long, value_name = "TIME", default_value = "10m")]
    build_timeout: Span,
    /// The messages to send after each build [default: as configured, or samples, samples.ndjson or the cases in tests of
    /// DIR].
    #[arg(long, value_name = "DIR|FILE")]
    samples: Option<PathBuf>,
    /// The queue that samples are sent to, where the configuration has several. Without one: its name [default: in].
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    /// Without a configuration: the component that is built.
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Without a configuration: a topic that the component may publish to, or a prefix that ends in *.
    #[arg(long, value_name = "TOPIC", requires = "component")]
    publish: Vec<TopicPattern>,
    /// Without a configuration: an origin that the component may send HTTP requests to.
    #[arg(long, value_name = "ORIGIN", requires = "component")]
    http: Vec<HttpOrigin>,
    /// The broker to keep queues on, instead of a file: a name from the configuration, or a URL.
    #[arg(long, value_name = "NAME|URL")]
    broker: Option<String>,
    /// The level or filter of the log, which is written beside what is shown.
    #[arg(long, env = "WASMPOST_LOG", default_value = LOG, hide_default_value = true, value_name = "FILTER")]
    log: String,
}

impl Dev {
    pub(super) async fn run(self) -> Result<(), Failure> {
        Logging::for_people(&self.log).start()?;
        let mut signals = Signals::new()?;
        let place = tempfile::Builder::new().prefix(PLACE).tempdir()?;
        let project = Project::load(&self, place.path())?;
        let mut sources = Sources::new(&project)?;
        let mut session = Session::new(&self, place.path(), project);
        session.introduce();
        let mut hangup = signal(SignalKind::hangup())?;
        let worked = tokio::select! {
            biased;
            () = signals.next() => Ok(()),
            // The terminal was closed.
            _ = hangup.recv() => Ok(()),
            worked = work(&mut session, &mut sources) => worked,
        };
        // A second signal ends the process without waiting for what is in flight.
        tokio::select! {
            biased;
            () = signals.next() => {}
            () = session.end() => {}
        }
        worked
    }
}

/// Builds, serves and sends at first and after each change.
async fn work(session: &mut Session<'_>, sources: &mut Sources) -> Result<(), Failure> {
    let mut changes = session.begin(sources).await?;
    loop {
        if changes.is_empty() {
            changes = tokio::select! {
                biased;
                changes = sources.changed() => changes?,
                stopped = session.stopped() => return Err(stopped.into()),
            };
        }
        tell(&changes);
        changes = session.turn(&changes, sources).await?;
    }
}

/// Names what has changed.
fn tell(changes: &Changes) {
    let first = changes.sources.iter().chain(&changes.samples).next();
    let count = changes.sources.len() + changes.samples.len() + usize::from(changes.configuration);
    let first = first.and_then(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
    let first = first.unwrap_or_else(|| "the configuration".to_owned());
    match count {
        1 => output::line(format_args!("-- {first} has changed")),
        count => output::line(format_args!("-- {first} and {} more have changed", count - 1)),
    }
}
