//! Samples: messages in files, which are sent after each build.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use wasmpost_msg::{Attributes, Publication};
use wasmpost_sandbox::{Size, read_plain_file};

use crate::cli::Failure;
use crate::cli::ndjson::{Line, Lines};
use crate::fixture::{case, cases};

/// The most samples.
const SAMPLES_MAX: usize = 1000;
/// The largest body in a file of its own.
const BODY_MAX: Size = Size(64 << 20);

/// A message to try a component with.
pub(super) struct Sample {
    /// Its name, which its id begins with.
    pub(super) name: String,
    /// The message, without an id and a topic.
    pub(super) message: Publication,
}

/// The samples in a directory or file.
pub(super) fn samples(path: &Path) -> Result<Vec<Sample>, Failure> {
    let mut found = Vec::new();
    if path.is_dir() {
        for case in cases(path, None)? {
            found.push(Sample::new(case.name, Publication::new("", case.attributes, case.body)));
        }
        let entries = std::fs::read_dir(path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        let mut files: Vec<_> = entries?.into_iter().map(|entry| entry.path()).filter(|file| is_sample(file)).collect();
        files.sort();
        for file in files {
            read(&file, &mut found)?;
        }
    } else {
        read(path, &mut found)?;
    }
    if found.len() > SAMPLES_MAX {
        let path = path.display();
        let count = found.len();
        let fault = format!("{path} has {count} samples; {SAMPLES_MAX} are the most that are sent");
        return Err(Failure::usage(anyhow::Error::msg(fault)));
    }
    Ok(found)
}

/// Whether a file in a directory is a sample by itself. Those in TOML are cases, which are read before.
fn is_sample(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.is_file() && !name.starts_with('.') && !name.ends_with('~') && extension(path) != "toml" && name != "README.md"
}

fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().into_owned()
}

/// Adds the samples of a file: a case, a message on each line, or a body.
fn read(path: &Path, found: &mut Vec<Sample>) -> Result<(), Failure> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let fault = |error: &dyn std::fmt::Display| {
        Failure::usage(anyhow::anyhow!("sample {} could not be read: {error}", path.display()))
    };
    match &*extension(path) {
        "toml" => {
            let case = case(name, path.to_owned())?;
            found.push(Sample::new(case.name, Publication::new("", case.attributes, case.body)));
        }
        "ndjson" | "jsonl" => {
            let mut lines = Lines::new(BufReader::new(File::open(path).map_err(|error| fault(&error))?));
            while let Some(line) = lines.next().map_err(|error| fault(&error))? {
                let number = lines.number();
                let line = line.map_err(|error| fault(&format_args!("line {number}: {error}")))?;
                found.push(Sample::of_line(&name, number, line));
                if found.len() > SAMPLES_MAX {
                    break;
                }
            }
        }
        _ => {
            let body = read_plain_file(path, BODY_MAX).map_err(|error| fault(&error))?;
            found.push(Sample::new(name, Publication::new("", Attributes::new(), body)));
        }
    }
    Ok(())
}

impl Sample {
    fn new(name: String, message: Publication) -> Self {
        Self { name, message }
    }

    fn of_line(file: &str, number: u64, line: Line) -> Self {
        let Line { attributes, body, id, key, delay, ttl } = line;
        let message = Publication::new("", attributes, body);
        let message = Publication {
            key: key.or_else(|| message.key.clone()),
            delay: delay.map(|delay| delay.0).unwrap_or_default(),
            ttl: ttl.map(|ttl| ttl.0),
            ..message
        };
        Self::new(id.unwrap_or_else(|| format!("{file}-{number}")), message)
    }
}
