//! `wasmpost check`: whether a configuration would serve.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use wasmpost_sandbox::Limits;

use super::single::tell_cache;
use super::target::DEFAULT_CONFIG;
use super::{Failure, output};
use crate::config::{Config, ReceiverConfig};
use crate::host::{Components, Prepared, prepare};

/// Checks a configuration and loads every component, without serving.
///
/// What it takes, `run` takes as well, as far as that can be told without connecting to a broker. Shows the limits of each
/// receiver that are not the default, as its tenant caps them.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wasmpost check --config wasmpost.toml --limits")]
pub(super) struct Check {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Show all limits of each receiver.
    #[arg(long)]
    limits: bool,
    /// Print a JSON array of receivers with their limits.
    #[arg(long)]
    json: bool,
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
        let config = Config::load(&self.config)?;
        let Prepared { sandbox, components } = prepare(&config).await?;
        tell_cache(&sandbox);
        config.receivers.iter().for_each(|receiver| note_grants(receiver, &components));
        if self.json {
            let row = |receiver| described(receiver, &components);
            return output::json(&config.receivers.iter().map(row).collect::<Vec<_>>());
        }
        let rows: Vec<_> = config.receivers.iter().flat_map(|receiver| self.rows(receiver)).collect();
        if !rows.is_empty() {
            output::table(&["RECEIVER", "TENANT", "LIMIT", "VALUE", "DEFAULT"], &rows);
        }
        let (receivers, components) = (config.receivers.len(), components.len());
        output::line(format_args!("{}: ok, {receivers} receivers, {components} components", self.config.display()));
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
    let (name, can) = (&receiver.name, |what: &str| needs.iter().any(|need| need.contains(what)));
    if can("topics") && receiver.grants.publish.is_empty() {
        output::note(format_args!("receiver {name:?} can publish, but is granted no topic: see publish = [...]"));
    }
    if can("origins") && receiver.grants.http.is_empty() {
        output::note(format_args!(
            "receiver {name:?} can send HTTP requests, but is granted no origin: see http = [...]"
        ));
    }
}
