//! `wasmpost check`: whether a configuration would serve, and whether a queue file is whole.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use wasmpost_broker_sqlite::{FileReport, check_file};
use wasmpost_msg::counted;
use wasmpost_sandbox::Limits;

use super::single::tell_faults;
use super::target::{DEFAULT_CONFIG, Target};
use super::{Failure, output};
use crate::config::{Config, ReceiverConfig};
use crate::host::{Components, Prepared, prepare};

/// Checks a configuration and loads every component, without serving.
///
/// `run` accepts every configuration that this accepts, as far as that can be told without connecting to a broker.
/// Shows the limits of each receiver that are not the default, as its tenant caps them.
///
/// With --queue it checks a queue file instead, without changing it: pages and indexes, the log, the consistency of
/// rows, and the checksum of each message. The exit code is 1 where something is damaged. A host may have the file open
/// meanwhile.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  wasmpost check --config wasmpost.toml --limits\n  wasmpost check --queue wasmpost.db"
)]
pub(super) struct Check {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Show all limits of each receiver.
    #[arg(long)]
    limits: bool,
    /// Print a JSON array of receivers with their limits, or of the damage.
    #[arg(long)]
    json: bool,
    /// Check a queue file: this one, that of a broker by name or URL, or that of the default broker.
    #[arg(long, value_name = "FILE|BROKER", num_args = 0..=1, conflicts_with = "limits")]
    queue: Option<Option<String>>,
}

#[derive(Serialize)]
struct Receiver<'a> {
    receiver: &'a str,
    tenant: Option<&'a str>,
    queue: &'a str,
    component: &'a str,
    limits: &'a Limits,
}

impl Check {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match &self.queue {
            Some(queue) => self.look_through(queue.as_deref()).await,
            None => self.run_configuration().await,
        }
    }

    async fn look_through(&self, queue: Option<&str>) -> Result<(), Failure> {
        let file = match queue.filter(|name| !name.contains(':') && Path::new(name).is_file()) {
            Some(file) => PathBuf::from(file),
            None => {
                let config =
                    Some(&self.config).filter(|config| config.exists() || **config != Path::new(DEFAULT_CONFIG));
                Target::new(config.cloned(), queue.map(str::to_owned)).file()?
            }
        };
        if !file.exists() {
            return Err(Failure::usage(anyhow::anyhow!("queue file {} does not exist", file.display())));
        }
        let FileReport { faults, messages } = check_file(&file).await?;
        if self.json {
            output::json(&faults)?;
        } else if faults.is_empty() {
            output::line(format_args!("{}: ok, {}", file.display(), counted(messages, "message")));
        } else {
            for fault in &faults {
                output::line(fault);
            }
        }
        match faults.len() {
            0 => Ok(()),
            _ => Err(Failure::failed(anyhow::anyhow!("queue file {} is damaged", file.display()))),
        }
    }

    async fn run_configuration(&self) -> Result<(), Failure> {
        let config = Config::load(&self.config)?;
        let Prepared { sandbox, components } = prepare(&config).await?;
        tell_faults(&sandbox);
        config.obsolete.iter().for_each(|text| output::note(format_args!("warning: {text}")));
        config.receivers.iter().for_each(|receiver| note_grants(receiver, &components));
        if self.json {
            let row = |receiver| described(receiver, &components);
            return output::json(&config.receivers.iter().map(row).collect::<Vec<_>>());
        }
        let rows: Vec<_> = config.receivers.iter().flat_map(|receiver| self.rows(receiver)).collect();
        if !rows.is_empty() {
            output::table(&["RECEIVER", "TENANT", "LIMIT", "VALUE", "DEFAULT"], &rows);
        }
        let receivers = counted(config.receivers.len(), "receiver");
        let components = counted(components.len(), "component");
        output::line(format_args!("{}: ok, {receivers}, {components}", self.config.display()));
        Ok(())
    }

    fn rows(&self, receiver: &ReceiverConfig) -> Vec<Vec<String>> {
        let defaults = Limits::default().values();
        let limits = receiver.limits.values().into_iter().zip(defaults);
        let shown = limits.filter(|((_, value), (_, default))| self.limits || value != default);
        let tenant = receiver.tenant.clone().unwrap_or_else(|| "-".to_owned());
        shown
            .map(|((name, value), (_, default))| {
                vec![receiver.name.clone(), tenant.clone(), name.to_owned(), value, default]
            })
            .collect()
    }
}

fn described<'a>(receiver: &'a ReceiverConfig, components: &'a Components) -> Receiver<'a> {
    Receiver {
        receiver: &receiver.name,
        tenant: receiver.tenant.as_deref(),
        queue: &receiver.queue.name,
        component: components.get(&receiver.component).map_or("", |loaded| loaded.digest()),
        limits: &receiver.limits,
    }
}

fn note_grants(receiver: &ReceiverConfig, components: &Components) {
    let needs = components.get(&receiver.component).map(|loaded| loaded.needs()).unwrap_or_default();
    let name = &receiver.name;
    let can = |what: &str| needs.iter().any(|need| need.contains(what));
    if can("topics") && receiver.grants.publish.is_empty() {
        output::note(format_args!("receiver {name:?} can publish, but is granted no topic: see publish = [...]"));
    }
    if can("origins") && receiver.grants.http.is_empty() {
        output::note(format_args!(
            "receiver {name:?} can send HTTP requests, but is granted no origin: see http = [...]"
        ));
    }
}
