//! The project: its configuration, the command that builds it, its samples, and the brokers that it is tried with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use wasmpost_sandbox::{Code, Compiler, EngineOptions, Grants};

use super::Dev;
use crate::cli::Failure;
use crate::cli::target::DEFAULT_CONFIG;
use crate::config::{Config, DEFAULT_BROKER, ReceiverConfig};
use crate::fixture::SUITE_FILE;
use crate::registry::Address;

/// How long messages in flight may go on when the host ends or starts anew.
const GRACE: Duration = Duration::from_secs(2);
/// The queue of a component without a configuration.
const QUEUE: &str = "in";
/// The target for components of Rust.
const TARGET: &str = "wasm32-unknown-unknown";

/// A project, ready to be built and served.
pub(super) struct Project {
    /// Its directory, without links and dots.
    pub(super) directory: PathBuf,
    /// The file of its configuration, if it has one.
    pub(super) file: Option<PathBuf>,
    /// The configuration of the host.
    pub(super) config: Config,
    /// The command that builds it.
    pub(super) build: String,
    /// The path of its samples, if it has any.
    pub(super) samples: Option<PathBuf>,
    /// The name of the broker and the queue that samples go to.
    pub(super) entry: (String, String),
}

impl Project {
    /// Reads a project. Queues are kept in files in `place`, unless another broker is asked for.
    pub(super) fn load(dev: &Dev, place: &Path) -> Result<Self, Failure> {
        let directory = dev.directory.canonicalize();
        let directory = directory.map_err(|error| usage(format!("{}: {error}", dev.directory.display())))?;
        let file = match (&dev.component, &dev.config) {
            (Some(_), _) => None,
            (None, Some(file)) => Some(std::path::absolute(file)?),
            (None, None) => Some(directory.join(DEFAULT_CONFIG)),
        };
        let config = match (&file, &dev.component) {
            (Some(file), _) if dev.config.is_none() && !file.exists() => return Err(no_project(&dev.directory)),
            (Some(file), _) => Config::load(file)?,
            (None, component) => without_file(dev, component.as_deref().unwrap_or(Path::new("")))?,
        };
        let first = config.receivers.first().ok_or_else(|| usage("the configuration names no receivers".to_owned()))?;
        let build = dev.build.clone().or_else(|| config.dev.build.clone());
        let build = build.or_else(|| found_build(&directory, &first.component)).ok_or_else(|| {
            let files = "build.sh, Cargo.toml, Makefile or package.json";
            let fault = format!("{} has none of {files}; say how it is built with --build", directory.display());
            usage(fault)
        })?;
        let samples = dev.samples.clone().or_else(|| config.dev.samples.clone());
        let samples = samples.map_or_else(|| found_samples(&directory), |samples| std::path::absolute(samples).ok());
        let entry = entry(dev, &config)?;
        let brokers = brokers(dev, &config, place)?;
        let config = Config { brokers, ingress: Vec::new(), grace: GRACE, engine: quick(config.engine), ..config };
        Ok(Self { directory, file, config, build, samples, entry })
    }

    /// The files of its components.
    pub(super) fn components(&self) -> BTreeSet<PathBuf> {
        self.config.receivers.iter().map(|receiver| receiver.component.clone()).collect()
    }

    /// The broker that samples go to.
    pub(super) fn address(&self) -> Option<&Address> {
        self.config.brokers.get(&self.entry.0)
    }
}

/// An engine that has a component ready soon. One for hostile guests compiles as it always does.
fn quick(engine: EngineOptions) -> EngineOptions {
    if engine.hostile {
        return engine;
    }
    EngineOptions { compiler: Compiler::InProcess, code: Code::Quick, ..engine }
}

fn usage(fault: String) -> Failure {
    Failure::usage(anyhow::Error::msg(fault))
}

fn no_project(directory: &Path) -> Failure {
    usage(format!(
        "there is no {DEFAULT_CONFIG} in {}; name a project of wasmpost new, or use --component with --build",
        directory.display()
    ))
}

/// The configuration that the arguments describe.
fn without_file(dev: &Dev, component: &Path) -> Result<Config, Failure> {
    let queue = dev.queue.as_deref().unwrap_or(QUEUE);
    if let Some(fault) = wasmpost_delivery::topic_name_fault(queue) {
        return Err(usage(format!("--queue: {fault}")));
    }
    let receiver = ReceiverConfig {
        grants: Grants { publish: dev.publish.clone(), http: dev.http.clone(), ..Grants::default() },
        ..ReceiverConfig::new(queue, std::path::absolute(component)?)
    };
    Ok(Config::of_one(receiver, Address::of_file(Path::new(crate::config::DEFAULT_FILE))))
}

/// The command by which a directory is built, from the files in it.
fn found_build(directory: &Path, component: &Path) -> Option<String> {
    let has = |name: &str| directory.join(name).is_file();
    if has("build.sh") {
        Some("./build.sh".to_owned())
    } else if has("Cargo.toml") {
        Some(cargo(component))
    } else if has("Makefile") {
        Some("make".to_owned())
    } else {
        has("package.json").then(|| "npm run build".to_owned())
    }
}

/// The call of cargo that makes a component at `…/TARGET/PROFILE/NAME.wasm`.
fn cargo(component: &Path) -> String {
    let mut parents = component.ancestors().skip(1).map(|parent| parent.file_name().unwrap_or_default());
    let profile = parents.next().unwrap_or_default().to_string_lossy().into_owned();
    let target = parents.next().unwrap_or_default().to_string_lossy().into_owned();
    let target = if target.starts_with("wasm32-") { &target } else { TARGET };
    let profile = match &*profile {
        "debug" => "",
        _ => " --release",
    };
    format!("cargo build{profile} --target {target}")
}

/// The samples that a directory has.
fn found_samples(directory: &Path) -> Option<PathBuf> {
    let samples = ["samples", "samples.ndjson"].map(|name| directory.join(name));
    let cases = directory.join("tests");
    let cases = cases.join(SUITE_FILE).exists().then_some(cases);
    samples.into_iter().find(|samples| samples.exists()).or(cases)
}

/// The broker and the queue that samples go to.
fn entry(dev: &Dev, config: &Config) -> Result<(String, String), Failure> {
    let of = |receiver: &ReceiverConfig| (receiver.broker.clone(), receiver.queue.name.clone());
    let is_it = |receiver: &&ReceiverConfig| dev.queue.as_ref().is_none_or(|queue| *queue == receiver.queue.name);
    let mut found = config.receivers.iter().filter(is_it).map(of);
    match (found.next(), found.next()) {
        (Some(entry), None) => Ok(entry),
        (Some(_), Some(_)) => {
            let queues: Vec<_> = config.receivers.iter().map(|receiver| &*receiver.queue.name).collect();
            let queues = queues.join(", ");
            Err(usage(format!("the configuration has the queues {queues}; choose one for samples with --queue")))
        }
        (None, _) => {
            let queue = dev.queue.as_deref().unwrap_or_default();
            Err(usage(format!("no receiver takes from queue {queue:?}; choose one that the configuration has")))
        }
    }
}

/// The address of each broker of the configuration: a file in `place` for each, or the one that is asked for.
fn brokers(dev: &Dev, config: &Config, place: &Path) -> Result<BTreeMap<String, Address>, Failure> {
    let asked = match &dev.broker {
        None => None,
        Some(url) if url.contains(':') => Some(Address::parse(url)?),
        Some(name) => {
            let known = config.brokers.get(name).cloned();
            let fault = || usage(format!("broker {name:?} is neither a URL nor a name in the configuration"));
            Some(known.ok_or_else(fault)?)
        }
    };
    let mut brokers: Vec<(&String, &Address, Address)> = Vec::new();
    for (number, (name, address)) in config.brokers.iter().enumerate() {
        let known = brokers.iter().find(|(_, other, _)| other.is_same_broker(address));
        let file = if name == DEFAULT_BROKER { "wasmpost.db".to_owned() } else { format!("wasmpost-{number}.db") };
        let chosen = match (&asked, known) {
            (Some(asked), _) => asked.clone(),
            (None, Some((_, _, chosen))) => chosen.clone(),
            (None, None) => Address::of_file(&place.join(file)),
        };
        brokers.push((name, address, chosen));
    }
    Ok(brokers.into_iter().map(|(name, _, chosen)| (name.clone(), chosen)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_builds_what_the_configuration_names() {
        let release = Path::new("/p/target/wasm32-unknown-unknown/release/a.wasm");
        assert_eq!(cargo(release), "cargo build --release --target wasm32-unknown-unknown");
        assert_eq!(cargo(Path::new("target/wasm32-wasip2/debug/a.wasm")), "cargo build --target wasm32-wasip2");
        assert_eq!(cargo(Path::new("a.wasm")), "cargo build --release --target wasm32-unknown-unknown");
    }
}
