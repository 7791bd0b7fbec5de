//! A session: builds the project, serves the component, and sends samples.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use wasmpost_msg::{Publication, chain};

use super::Dev;
use super::build::{Built, build};
use super::project::Project;
use super::samples::{Sample, samples};
use super::show::{Names, Shown};
use super::sources::{Changes, Sources};
use crate::cli::{Failure, output};
use crate::host::{Host, HostError, prepare};

/// How many builds in a row may change a file that then has it built again. Such a file is made by the build.
const REBUILDS_MAX: u32 = 3;

/// A project at work.
pub(super) struct Session<'a> {
    dev: &'a Dev,
    place: &'a Path,
    project: Project,
    host: Option<Host>,
    /// Whether the host serves what the configuration said before.
    is_outdated: bool,
    shown: Arc<Shown>,
    round: u64,
    /// How many builds in a row changed a file.
    rebuilds: BTreeMap<PathBuf, u32>,
}

impl<'a> Session<'a> {
    pub(super) fn new(dev: &'a Dev, place: &'a Path, project: Project) -> Self {
        // A broker that lasts knows the ids of earlier sessions.
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let round = if dev.broker.is_some() { since.as_secs() } else { 0 };
        let shown = Arc::default();
        let rebuilds = BTreeMap::new();
        Self { dev, place, project, host: None, is_outdated: false, shown, round, rebuilds }
    }

    /// Tells how the project is built and tried, and how to send it a message.
    pub(super) fn introduce(&self) {
        let Project { directory, build, samples, entry: (_, queue), .. } = &self.project;
        output::line(format_args!("watching  {}", directory.display()));
        output::line(format_args!("build     {build}"));
        match samples {
            Some(samples) => output::line(format_args!("samples   {}", samples.display())),
            None => output::line("samples   none: --samples names a directory or a file"),
        }
        if let Some(address) = self.project.address() {
            output::line(format_args!("to send   wasmpost publish {queue} --broker '{address}' -"));
        }
    }

    /// Builds, serves and sends samples for the first time. Gives the files that have changed meanwhile.
    pub(super) async fn begin(&mut self, sources: &mut Sources) -> Result<Changes, Failure> {
        self.build_and_serve(sources).await
    }

    /// Builds, serves and sends samples as far as changes ask for it. Gives the files that have changed meanwhile.
    pub(super) async fn turn(&mut self, changes: &Changes, sources: &mut Sources) -> Result<Changes, Failure> {
        if changes.configuration {
            match Project::load(self.dev, self.place) {
                Ok(project) => {
                    self.project = project;
                    self.is_outdated = true;
                    sources.configured(&self.project);
                }
                Err(failure) => {
                    output::line(format_args!("configuration refused: {}", failure.text()));
                    if changes.sources.is_empty() {
                        return Ok(Changes::default());
                    }
                }
            }
        }
        if changes.sources.is_empty() && !changes.configuration {
            self.send().await;
            return Ok(Changes::default());
        }
        self.build_and_serve(sources).await
    }

    /// Waits until the host stops by itself.
    pub(super) async fn stopped(&mut self) -> HostError {
        match &mut self.host {
            Some(host) => host.stopped().await,
            None => std::future::pending().await,
        }
    }

    /// Ends the host.
    pub(super) async fn end(&mut self) {
        if let Some(host) = self.host.take() {
            // The queues go away with it, or are kept by their broker.
            drop(host.stop().await);
        }
    }

    async fn build_and_serve(&mut self, sources: &mut Sources) -> Result<Changes, Failure> {
        let began = Instant::now();
        let time_max = self.dev.build_timeout.0;
        let built = build(&self.project.build, &self.project.directory, time_max).await;
        let meanwhile = self.meanwhile(sources.look()?);
        match built {
            Built::Done => {
                output::line(format_args!("-- built in {:.1?}", began.elapsed()));
                if self.serve().await {
                    self.send().await;
                }
            }
            Built::Failed(fault) => {
                let then =
                    if self.host.is_some() { "the component from before serves on" } else { "nothing is served" };
                output::line(format_args!("-- build failed ({fault}); {then}"));
            }
        }
        Ok(meanwhile)
    }

    /// The files that changed during a build, without those that each build changes.
    fn meanwhile(&mut self, mut changes: Changes) -> Changes {
        self.rebuilds.retain(|path, _| changes.sources.contains(path));
        let changed = std::mem::take(&mut changes.sources);
        for path in changed {
            let count = self.rebuilds.entry(path.clone()).or_default();
            *count = count.saturating_add(1);
            if *count <= REBUILDS_MAX {
                changes.sources.insert(path);
            } else if *count == REBUILDS_MAX + 1 {
                let fault = "was changed by each build; a change of it during a build does not count any more";
                output::line(format_args!("-- {} {fault}", path.display()));
            }
        }
        changes
    }

    /// Serves the component that was built. Returns whether it serves.
    async fn serve(&mut self) -> bool {
        let began = Instant::now();
        let served = match &self.host {
            Some(host) if !self.is_outdated => reload(host).await,
            _ => self.start().await,
        };
        match served {
            Ok(word) => {
                output::line(format_args!("-- {word} in {:.1?}", began.elapsed()));
                true
            }
            Err(fault) => {
                let then = if self.host.is_some() { "; the one from before serves on" } else { "" };
                output::line(format_args!("-- not loaded: {fault}{then}"));
                false
            }
        }
    }

    /// Starts a host, in place of one with an older configuration. That one goes on if the new one cannot be started.
    async fn start(&mut self) -> Result<&'static str, String> {
        let config = self.project.config.clone();
        if self.host.is_some() {
            prepare(&config).await.map_err(|error| chain(&error).to_string())?;
        }
        self.end().await;
        let names = if config.receivers.len() > 1 { Names::Shown } else { Names::Hidden };
        self.shown.show_names(names);
        let host = Host::start_with(config, self.shown.additions()).await;
        self.host = Some(host.map_err(|error| chain(&error).to_string())?);
        self.is_outdated = false;
        Ok("loaded")
    }

    /// Sends the samples, in place of those of earlier builds.
    async fn send(&mut self) {
        let Some(path) = &self.project.samples else { return };
        match samples(path) {
            Ok(samples) if samples.is_empty() => output::line(format_args!("-- no samples in {}", path.display())),
            Ok(samples) => {
                if let Err(fault) = self.publish(samples).await {
                    output::line(format_args!("-- samples not sent: {fault}"));
                }
            }
            Err(failure) => output::line(format_args!("-- samples not sent: {}", failure.text())),
        }
    }

    async fn publish(&mut self, samples: Vec<Sample>) -> Result<(), String> {
        let (name, queue) = &self.project.entry;
        let Some(broker) = self.host.as_ref().and_then(|host| host.broker(name)) else { return Ok(()) };
        self.round += 1;
        let mut taken = BTreeSet::new();
        let samples: Vec<_> = samples.into_iter().filter(|sample| taken.insert(sample.name.clone())).collect();
        let ids = self.shown.begin_round(self.round, samples.iter().map(|sample| &*sample.name));
        let publications = samples.into_iter().zip(ids).map(|(sample, id)| Publication {
            topic: queue.clone(),
            id: Some(id),
            ..sample.message
        });
        broker.publish(publications.collect()).await.map(drop).map_err(|error| chain(&error).to_string())
    }
}

/// Makes the host load the component again.
async fn reload(host: &Host) -> Result<&'static str, String> {
    let reloaded = host.view().reload().await;
    if let Some(fault) = reloaded.iter().find_map(|reloaded| reloaded.error.clone()) {
        return Err(fault);
    }
    let is_replaced = reloaded.iter().any(|reloaded| reloaded.outcome == "replaced");
    Ok(if is_replaced { "loaded" } else { "the same component; looked at it" })
}
