//! `wasmpost publish`: writes messages to a topic.

use std::fs::File;
use std::io::{BufReader, IsTerminal, Read, stderr, stdin};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;
use wasmpost_delivery::{Admission, Receipt};
use wasmpost_msg::{Attributes, Publication, counted};
use wasmpost_sandbox::Span;

use super::feed::{Feed, Next, Piece, read_ahead};
use super::ndjson::{Line, Lines};
use super::signals::Signals;
use super::target::{Missing, Target};
use super::{Failure, output};

/// How much of an NDJSON file is read at a time, in bytes.
const READ_BYTES: usize = 64 << 10;

/// Writes messages to a topic.
///
/// Messages are stored when it ends with exit code 0. It works while a host has the queue file open and while none has.
/// It prints the id of the message. Lines of NDJSON are published as they come: at the latest some hundredths of a
/// second after the input pauses. Exit code 3 says that --fail-on-duplicate found a duplicate.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wasmpost publish webhooks --attribute X-Github-Event=ping ping.json
  echo '{}' | wasmpost publish webhooks --attribute X-Github-Event=ping --delay 5s -
  wasmpost publish webhooks --ndjson webhooks.ndjson

A line of an NDJSON file is one message:
  {\"attributes\":{\"X-Github-Event\":[\"ping\"]},\"body\":\"{}\"}
with \"body_base64\" instead of \"body\" for bytes, and \"id\", \"key\", \"delay\" and \"ttl\" if need be.")]
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
    /// The time before which the message is not delivered, such as 5s.
    #[arg(long, value_name = "TIME")]
    delay: Option<Span>,
    /// The time after which the message is not delivered any more, such as 1h.
    #[arg(long, value_name = "TIME")]
    ttl: Option<Span>,
    /// The id. A second message with it, within ten minutes, is not stored.
    #[arg(long, conflicts_with = "ndjson")]
    id: Option<String>,
    /// A file with a message on each line; - for standard input.
    #[arg(long, value_name = "FILE|-")]
    ndjson: Option<PathBuf>,
    /// With --ndjson: report lines that are not messages, and go on.
    #[arg(long, requires = "ndjson")]
    skip_invalid: bool,
    /// Print JSON: {"id":…,"duplicate":…} for a message, the counts for --ndjson.
    #[arg(long)]
    json: bool,
    /// End with exit code 3 where a message with the same id was published before. Nothing is added then in any case.
    #[arg(long)]
    fail_on_duplicate: bool,
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
        match (self.ndjson.clone(), &self.body) {
            (Some(path), _) => Arc::new(self).run_ndjson(&path).await,
            (None, Some(path)) => self.run_one(path).await,
            (None, None) => Err(Failure::usage(anyhow::anyhow!("name a file with the body, or - for standard input"))),
        }
    }

    async fn run_one(&self, path: &PathBuf) -> Result<(), Failure> {
        let body = read_body(path)?;
        // An id that is known before: where no answer comes, the message can be published again under the same one.
        let id = Some(self.id.clone().unwrap_or_else(|| uuid::Uuid::now_v7().to_string()));
        let publication = Publication { id, ..self.publication(Attributes::new(), body) };
        Admission::default().check(&publication)?;
        let broker = self.target.open_for_more(Missing::Made).await?.broker();
        let receipts = broker.publish(vec![publication]).await?;
        broker.close().await?;
        let mut duplicates = 0;
        for Receipt { id, duplicate } in receipts {
            if duplicate {
                duplicates += 1;
                output::note(format_args!("a message with id {id:?} was published before; nothing was added"));
            }
            if self.json {
                output::json_line(&serde_json::json!({ "id": id, "duplicate": duplicate }))?;
            } else {
                output::line(id);
            }
        }
        self.told(duplicates)
    }

    /// Duplicates are a success unless they were asked to be none.
    fn told(&self, duplicates: usize) -> Result<(), Failure> {
        if duplicates > 0 && self.fail_on_duplicate {
            return Err(Failure::duplicate(anyhow::anyhow!("{duplicates} published before under the same id")));
        }
        Ok(())
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

    async fn run_ndjson(self: Arc<Self>, path: &PathBuf) -> Result<(), Failure> {
        let size = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
        let mut lines = Lines::new(BufReader::with_capacity(READ_BYTES, open(path)?));
        let mut ended = false;
        let publish = Arc::clone(&self);
        let pieces = read_ahead(move || (!ended).then(|| publish.piece(&mut lines, &mut ended)));
        let mut feed = Feed::new(&self.target);
        let progress = progress(size);
        let skipped = self.feed(&mut feed, pieces, path, &progress).await;
        progress.finish_and_clear();
        let closed = feed.let_go().await;
        let skipped = skipped?;
        closed?;
        self.tell(&feed, skipped)
    }

    /// Reads as much of the input as is there without waiting.
    fn piece<R: Read>(&self, lines: &mut Lines<BufReader<R>>, ended: &mut bool) -> Piece {
        let mut piece = Piece::default();
        loop {
            match lines.next() {
                Ok(Some(line)) => piece.add(lines.number(), self.message(line)),
                Ok(None) => *ended = true,
                Err(error) => {
                    piece.fault = Some(error.to_string());
                    *ended = true;
                }
            }
            if *ended || piece.is_full() || !lines.is_at_hand() {
                piece.position = lines.bytes();
                return piece;
            }
        }
    }

    /// Publishes all pieces; says how many lines were skipped.
    async fn feed(
        &self,
        feed: &mut Feed<'_>,
        mut pieces: mpsc::Receiver<Piece>,
        path: &Path,
        progress: &ProgressBar,
    ) -> Result<usize, Failure> {
        let mut signals = Signals::new()?;
        let path = path.display();
        let mut skipped = 0;
        loop {
            // Nothing but waiting is given up: what is being published then counts.
            let next = tokio::select! {
                biased;
                () = signals.next() => {
                    feed.flush().await?;
                    return Err(Failure::failed(anyhow::anyhow!(feed.so_far(format_args!("{path}: interrupted")))));
                }
                next = feed.next(&mut pieces) => next,
            };
            let Piece { lines, position, fault, .. } = match next {
                Next::Piece(piece) => piece,
                Next::Pause => {
                    feed.settle().await?;
                    continue;
                }
                Next::End => break,
            };
            for (number, line) in lines {
                match line {
                    Ok(publication) => feed.add(number, publication).await?,
                    Err(fault) if self.skip_invalid => {
                        progress.suspend(|| output::note(format_args!("line {number}: {fault}; skipped")));
                        skipped += 1;
                    }
                    Err(fault) => {
                        feed.flush().await?;
                        let fault = feed.so_far(format_args!("{path}: line {number}: {fault}"));
                        let advice = "use --skip-invalid to leave such lines out";
                        return Err(Failure::usage(anyhow::anyhow!("{fault}; {advice}")));
                    }
                }
            }
            if let Some(fault) = fault {
                feed.flush().await?;
                return Err(Failure::usage(anyhow::anyhow!(
                    feed.so_far(format_args!("{path} could not be read: {fault}"))
                )));
            }
            progress.set_position(position);
        }
        feed.flush().await?;
        Ok(skipped)
    }

    fn tell(&self, feed: &Feed<'_>, skipped: usize) -> Result<(), Failure> {
        let published = feed.published - feed.duplicates;
        let duplicates = feed.duplicates;
        if self.json {
            let told = serde_json::json!({ "published": published, "duplicates": duplicates, "skipped": skipped });
            output::json_line(&told)?;
        } else {
            output::note(format_args!("published {published}, duplicates {duplicates}, skipped {skipped}"));
        }
        if skipped > 0 {
            return Err(Failure::failed(anyhow::anyhow!("skipped {}", counted(skipped, "invalid line"))));
        }
        self.told(duplicates)
    }

    /// The message of a line, checked now so that one wrong line does not take its whole batch with it.
    fn message(&self, line: Result<Line, String>) -> Result<Publication, String> {
        let Line { attributes, body, id, key, delay, ttl } = line?;
        let publication = self.publication(attributes, body);
        let publication = Publication {
            id,
            key: key.or(publication.key.clone()),
            delay: delay.map_or(publication.delay, |delay| delay.0),
            ttl: ttl.map(|ttl| ttl.0).or(publication.ttl),
            ..publication
        };
        Admission::default().check(&publication).map_err(|error| error.to_string())?;
        Ok(publication)
    }
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
