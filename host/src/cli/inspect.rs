//! `wasmpost inspect`: what a component is and what it needs.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use wasmpost_msg::counted;
use wasmpost_sandbox::{EngineOptions, Limits};

use super::single::{engine, sandbox};
use super::{Failure, output};

/// Describes a component: its world, its imports and its needs.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wasmpost inspect triage.wasm")]
pub(super) struct Inspect {
    /// The component.
    component: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Description {
    component: String,
    worlds: Vec<&'static str>,
    digest: String,
    size_bytes: u64,
    version: Option<String>,
    imports: Vec<String>,
    needs: Vec<&'static str>,
}

impl Inspect {
    pub(super) fn run(self) -> Result<(), Failure> {
        let sandbox = sandbox(EngineOptions { pool_instances: 1, ..engine() }, Limits::default().memory)?;
        let loaded = sandbox.load_file(&self.component).map_err(Failure::usage)?;
        let description = Description {
            component: self.component.display().to_string(),
            worlds: loaded.worlds(),
            digest: loaded.digest().to_owned(),
            size_bytes: loaded.size_bytes(),
            version: loaded.version().map(str::to_owned),
            imports: loaded.imports().to_vec(),
            needs: loaded.needs(),
        };
        if self.json {
            return output::json(&description);
        }
        description.print();
        Ok(())
    }
}

impl Description {
    fn print(&self) {
        let bytes = self.size_bytes;
        output::line(format_args!("component  {}", self.component));
        output::line(format_args!("world      {}", self.worlds.join(", ")));
        output::line(format_args!("digest     {}", self.digest));
        output::line(format_args!("size       {}", counted(bytes, "byte")));
        if let Some(version) = &self.version {
            output::line(format_args!("version    {}", output::name(version)));
        }
        let none = || vec!["none"];
        let imports: Vec<&str> = self.imports.iter().map(String::as_str).collect();
        for (name, values) in [("imports", &imports), ("to grant", &self.needs)] {
            let values = if values.is_empty() { none() } else { values.clone() };
            for (number, value) in values.into_iter().enumerate() {
                let name = if number == 0 { name } else { "" };
                output::line(format_args!("{name:<10} {}", output::name(value)));
            }
        }
    }
}
