//! `wasmpost test`: messages in files through a component, without a queue.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use clap::builder::styling::AnsiColor;
use wasmpost_msg::{counted, shown};
use wasmpost_sandbox::{EngineOptions, Size};

use super::output::coloured;
use super::single::{engine, sandbox};
use super::{Failure, output};
use crate::fixture::{Case, Difference, Line, Outcome, Runner, Suite, compare, junit, update};

/// Tries a component with messages in files, without a queue.
///
/// DIR has a file wasmpost-test.toml, which says how the component runs, and a file NAME.toml for each case, or
/// NAME/case.toml: a message, and under [expect] what has to become of it. The time of day that the component sees is
/// fixed, and random numbers are the same each time. The exit code is 0 when all cases ended as expected, 1 when one did
/// not, and 2 when a file is wrong.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  wasmpost test tests --filter retry

Example of a case:
  attributes = { X-Github-Event = \"ping\" }
  body = '{\"zen\":\"Keep it logically awesome.\"}'
  [expect]
  verdict = \"ok\"
  [[expect.published]]
  topic = \"github.ping\"
  attributes = { X-Github-Event = \"ping\" }
  body_json = '{\"zen\":\"Keep it logically awesome.\"}'")]
pub(super) struct Test {
    /// The directory of the cases.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The component, instead of the one that wasmpost-test.toml names.
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Write the results to this file as JUnit XML as well.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Only cases whose names contain this.
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
    /// Write what was seen into the files as what is expected.
    #[arg(long)]
    update: bool,
}

impl Test {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let suite = Suite::load(&self.directory, self.filter.as_deref())?;
        let file = suite.path.display();
        let none = |what: String| Failure::usage(anyhow::anyhow!(what));
        let component = self.component.as_ref().or(suite.component.as_ref());
        let component = component
            .ok_or_else(|| none(format!("{file} names no component; add component = \"FILE\" or use --component")))?;
        if suite.cases.is_empty() {
            return Err(none(match &self.filter {
                Some(filter) => format!("no case in {} has {filter:?} in its name", self.directory.display()),
                None => format!("no case lies beside {file}; add a file NAME.toml with a message and [expect]"),
            }));
        }
        if let Some(case) = suite.cases.iter().find(|case| case.expectation.is_none() && !self.update) {
            let path = case.path.display();
            return Err(none(format!("{path} has no [expect]; write it, or have it written with --update")));
        }
        let memory_max = Size(suite.options.limits.memory.0.max(EngineOptions::default().memory_max.0));
        let options = EngineOptions { pool_instances: 4, memory_max, ..engine() };
        let sandbox = sandbox(options, suite.options.limits.memory)?;
        let loaded = sandbox.load_file(component).map_err(Failure::usage)?;
        let runner = Runner::new(sandbox, loaded, &suite);
        self.try_all(&suite, &runner).await
    }

    async fn try_all(&self, suite: &Suite, runner: &Runner) -> Result<(), Failure> {
        let began = Instant::now();
        let mut updated = 0;
        let width = suite.cases.iter().map(|case| case.name.chars().count()).max().unwrap_or(0);
        let mut results = Vec::new();
        for case in &suite.cases {
            let outcome = runner.run(case).await.map_err(Failure::usage)?;
            let mut difference = case.expectation.as_ref().and_then(|expectation| compare(expectation, &outcome));
            let is_written = self.update && (difference.is_some() || case.expectation.is_none());
            if is_written {
                let path = case.path.display().to_string();
                let written = update(case, &outcome);
                written.map_err(|error| {
                    Failure::failed(anyhow::Error::new(error).context(format!("{path} could not be written")))
                })?;
                difference = None;
                updated += 1;
            }
            show(case, width, &outcome, difference.as_ref(), is_written);
            results.push((case, outcome, difference));
        }
        if let Some(path) = &self.junit {
            let report = junit(&self.directory.display().to_string(), &results).map_err(Failure::failed)?;
            let unwritten =
                |error| anyhow::Error::new(error).context(format!("{} could not be written", path.display()));
            std::fs::write(path, report).map_err(|error| Failure::failed(unwritten(error)))?;
        }
        let failed = results.iter().filter(|(_, _, difference)| difference.is_some()).count();
        let passed = results.len() - failed - updated;
        let updated = if updated > 0 { format!(", {updated} updated") } else { String::new() };
        let took = began.elapsed().as_millis();
        let cases = counted(results.len(), "case");
        output::line(format_args!("{cases}: {passed} passed, {failed} failed{updated}, in {took} ms"));
        match failed {
            0 => Ok(()),
            failed => {
                let fault = format!("{failed} of {cases} did not end as expected");
                Err(Failure::failed(anyhow::anyhow!(fault)))
            }
        }
    }
}

/// One line for a case, and how it differs from what was expected.
fn show(case: &Case, width: usize, outcome: &Outcome, difference: Option<&Difference>, is_written: bool) {
    let (word, color) = match (difference, is_written) {
        (Some(_), _) => ("FAILED ", AnsiColor::Red),
        (None, true) => ("updated", AnsiColor::Yellow),
        (None, false) => ("passed ", AnsiColor::Green),
    };
    let name = shown(&case.name);
    output::painted(format_args!("{}  {name:<width$}  {}", coloured(color, word), outcome.ending));
    let Some(difference) = difference else { return };
    output::painted(format_args!(
        "    {} {}",
        coloured(AnsiColor::Red, "- expected"),
        coloured(AnsiColor::Green, "+ seen")
    ));
    for line in &difference.lines {
        let text = match line {
            Line::Same(text) => format!("  {}", shown(text)),
            Line::Expected(text) => coloured(AnsiColor::Red, &format!("- {}", shown(text))),
            Line::Seen(text) => coloured(AnsiColor::Green, &format!("+ {}", shown(text))),
            Line::Gap => "  ...".to_owned(),
        };
        output::painted(format_args!("    {text}").to_string().trim_end());
    }
    for note in &difference.notes {
        output::line(format_args!("      {note}"));
    }
}
