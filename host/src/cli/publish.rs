//! `wasmpost publish`: writes messages to a topic.

use std::fs::File;
use std::io::{BufReader, IsTerminal, Read, stderr, stdin};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use wasmpost_delivery::{Admission, Broker};
use wasmpost_msg::{Attributes, Publication};
use wasmpost_sandbox::Span;

use super::ndjson::{Line, Lines};
use super::target::Target;
use super::{Failure, output};

/// The most messages, and bytes of them, that are published at once.
const BATCH_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Writes messages to a topic.
///
/// When it ends with exit code 0, what was published is stored. It works while a host has the queue file open and while
/// none has. It prints the id of the message.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wasmpost publish webhooks --attribute X-Github-Event=ping ping.json
  echo '{}' | wasmpost publish webhooks --attribute X-Github-Event=ping --delay 5s -
  wasmpost publish webhooks --ndjson webhooks.ndjson

A line of an NDJSON file is one message:
  {\"attributes\":{\"X-Github-Event\":[\"ping\"]},\"body\":\"{}\"}
with \"body_base64\" instead of \"body\" for bytes, and \"id\", \"key\" and \"delay\" if need be.")]
pub(super) struct Publish {
    /// The topic to write to.
    topic: String,
    /// The file with the body; - for standard input.
    #[arg(value_name = "FILE|-", required_unless_present = "ndjson", conflicts_with = "ndjson")]
    body: Option<PathBuf>,
    /// An attribute. Giving one name several times gives it several values.
    #[arg(long, value_name = "K=V", value_parser = attribute)]
    attribute: Vec<(String, String)>,
    /// The ordering key: messages with the same one are delivered one at a time, in the order published.
    #[arg(long)]
    key: Option<String>,
    /// How long the message is not to be delivered, such as 5s.
    #[arg(long, value_name = "TIME")]
    delay: Option<Span>,
    /// How long the message is to be delivered at all, such as 1h.
    #[arg(long, value_name = "TIME")]
    ttl: Option<Span>,
    /// The id. A second message with it, within ten minutes, is not stored.
    #[arg(long, conflicts_with = "ndjson")]
    id: Option<String>,
    /// A file with a message on each line; - for standard input.
    #[arg(long, value_name = "FILE|-")]
    ndjson: Option<PathBuf>,
    /// With --ndjson: note lines that are no messages, and go on.
    #[arg(long, requires = "ndjson")]
    skip_invalid: bool,
    #[command(flatten)]
    target: Target,
}

/// A pair such as `K=V`.
pub(super) fn attribute(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
    wasmpost_msg::attribute_fault(name, value).map_or_else(|| Ok((name.to_owned(), value.to_owned())), Err)
}

pub(super) fn attributes(pairs: &[(String, String)]) -> Attributes {
    let mut attributes = Attributes::new();
    pairs.iter().for_each(|(name, value)| attributes.append(name, value));
    attributes
}

/// The file, or standard input for `-`.
fn open(path: &PathBuf) -> Result<Box<dyn Read + Send>, Failure> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(stdin()));
    }
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    Ok(Box::new(file))
}

fn unreadable(path: &std::path::Path, error: std::io::Error) -> Failure {
    Failure::usage(anyhow::Error::new(error).context(format!("{} could not be read", path.display())))
}

/// A body from a file or standard input, of a size that can be published.
pub(super) fn read_body(path: &PathBuf) -> Result<Vec<u8>, Failure> {
    let max = Admission::default().body_bytes_max;
    let mut body = Vec::new();
    let read = open(path)?.take(max as u64 + 1).read_to_end(&mut body);
    read.map_err(|error| unreadable(path, error))?;
    if body.len() > max {
        let fault = format!("{}: body is over the limit of {max} bytes", path.display());
        return Err(Failure::usage(anyhow::anyhow!(fault)));
    }
    Ok(body)
}

impl Publish {
    pub(super) async fn run(self) -> Result<(), Failure> {
        if let Some(fault) = wasmpost_delivery::topic_name_fault(&self.topic) {
            return Err(Failure::usage(anyhow::anyhow!("topic: {fault}")));
        }
        // The input is looked at before a queue file is made for it.
        match (&self.ndjson, &self.body) {
            (Some(path), _) => self.run_ndjson(path).await,
            (None, Some(path)) => self.run_one(path).await,
            (None, None) => Err(Failure::usage(anyhow::anyhow!("name a file with the body, or - for standard input"))),
        }
    }

    async fn run_one(&self, path: &PathBuf) -> Result<(), Failure> {
        let body = read_body(path)?;
        let publication = Publication { id: self.id.clone(), ..self.publication(Attributes::new(), body) };
        let broker = self.target.open_for_more(true).await?.broker();
        let receipts = broker.publish(vec![publication]).await?;
        for receipt in receipts {
            if receipt.duplicate {
                output::note(format_args!(
                    "a message with id {:?} was published before; nothing was added",
                    receipt.id
                ));
            }
            output::line(receipt.id);
        }
        Ok(broker.close().await?)
    }

    fn publication(&self, mut own: Attributes, body: impl Into<bytes::Bytes>) -> Publication {
        self.attribute.iter().for_each(|(name, value)| own.append(name, value));
        let publication = Publication::new(self.topic.clone(), own, body);
        Publication {
            delay: self.delay.map(|delay| delay.0).unwrap_or_default(),
            ttl: self.ttl.map(|ttl| ttl.0),
            key: self.key.clone().or(publication.key.clone()),
            ..publication
        }
    }

    async fn run_ndjson(&self, path: &PathBuf) -> Result<(), Failure> {
        let size = std::fs::metadata(path).map(|metadata| metadata.len()).ok();
        let mut lines = Lines::new(BufReader::new(open(path)?));
        let broker = self.target.open_for_more(true).await?.broker();
        let progress = progress(size);
        let mut tally = Tally::default();
        let mut batch = Vec::new();
        let mut bytes = 0;
        loop {
            let line = lines.next().map_err(|error| unreadable(path, error))?;
            let ends = line.is_none();
            match line.map(|line| self.message(line)) {
                Some(Ok(publication)) => {
                    bytes += publication.bytes();
                    batch.push(publication);
                }
                Some(Err(fault)) if self.skip_invalid => {
                    progress.suspend(|| output::note(format_args!("line {}: {fault}; skipped", lines.number())));
                    tally.skipped += 1;
                }
                Some(Err(fault)) => {
                    tally.add(publish(&broker, &mut batch).await?);
                    progress.finish_and_clear();
                    broker.close().await?;
                    let (path, number) = (path.display(), lines.number());
                    let rest = format!("the {} before it are published", tally.published);
                    let advice = "use --skip-invalid to leave such lines out";
                    return Err(Failure::usage(anyhow::anyhow!("{path}: line {number}: {fault}; {rest}; {advice}")));
                }
                None => {}
            }
            if ends || batch.len() >= BATCH_MAX || bytes >= BATCH_BYTES_MAX {
                tally.add(publish(&broker, &mut batch).await?);
                bytes = 0;
            }
            progress.set_position(lines.bytes());
            if ends {
                break;
            }
        }
        progress.finish_and_clear();
        broker.close().await?;
        tally.tell()
    }

    /// The message of a line, checked now so that one wrong line does not take its whole batch with it.
    fn message(&self, line: Result<Line, String>) -> Result<Publication, String> {
        let Line { attributes, body, id, key, delay } = line?;
        let publication = self.publication(attributes, body);
        let publication = Publication {
            id,
            key: key.or(publication.key.clone()),
            delay: delay.map_or(publication.delay, |delay| delay.0),
            ..publication
        };
        Admission::default().check(&publication).map_err(|error| error.to_string())?;
        Ok(publication)
    }
}

/// What became of the lines of a file.
#[derive(Default)]
struct Tally {
    published: usize,
    duplicates: usize,
    skipped: usize,
}

impl Tally {
    fn add(&mut self, (published, duplicates): (usize, usize)) {
        self.published += published;
        self.duplicates += duplicates;
    }

    fn tell(&self) -> Result<(), Failure> {
        let Self { published, duplicates, skipped } = self;
        output::note(format_args!("published {published}, duplicates {duplicates}, skipped {skipped}"));
        match skipped {
            0 => Ok(()),
            skipped => Err(Failure::failed(anyhow::anyhow!("{skipped} lines are no messages and were skipped"))),
        }
    }
}

async fn publish(broker: &Arc<dyn Broker>, batch: &mut Vec<Publication>) -> Result<(usize, usize), Failure> {
    if batch.is_empty() {
        return Ok((0, 0));
    }
    let receipts = broker.publish(std::mem::take(batch)).await?;
    let duplicates = receipts.iter().filter(|receipt| receipt.duplicate).count();
    Ok((receipts.len() - duplicates, duplicates))
}

/// A bar on a terminal, nothing otherwise.
fn progress(size: Option<u64>) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = size.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}
