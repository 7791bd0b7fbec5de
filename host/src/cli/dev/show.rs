//! Shows each delivery once it is settled, with what was logged meanwhile.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clap::builder::styling::AnsiColor;
use parking_lot::Mutex;
use wasmpost_delivery::{Observer, Settled, Verdict};
use wasmpost_msg::{Message, Publication, ReceiveError, Receiver, counted, cut, shown};
use wasmpost_sandbox::{LogRecord, LogSink};

use crate::cli::output::{self, coloured};
use crate::config::ReceiverConfig;
use crate::host::Additions;

/// The most bytes that are shown of a body, and of an error.
const BODY_BYTES_MAX: usize = 200;
const ERROR_BYTES_MAX: usize = 2048;
/// The most messages that are shown of those that a delivery published.
const PUBLISHED_MAX: usize = 20;
/// The most deliveries whose lines are kept, if they are never settled.
const OPEN_MAX: usize = 10_000;

/// Shows deliveries.
#[derive(Debug, Default)]
pub(super) struct Shown(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The number of the samples that were sent last.
    round: u64,
    /// The names of all samples that were sent.
    samples: BTreeSet<String>,
    /// Whether the names of receivers are shown.
    names: Names,
    /// Deliveries that are not settled yet, by receiver and message.
    open: HashMap<(String, String), Open>,
}

/// Whether the names of receivers are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Names {
    /// There is one receiver.
    #[default]
    Hidden,
    /// There are several.
    Shown,
}

#[derive(Debug)]
enum Open {
    /// It was handed to the component, which logged these lines.
    Handed(Vec<String>),
    /// It is a sample of an earlier build.
    Outdated,
}

/// Hands messages on, except samples of earlier builds.
struct Noted {
    name: String,
    shown: Arc<Shown>,
    inner: Arc<dyn Receiver>,
}

impl Shown {
    /// The additions to a host by which its deliveries are shown.
    pub(super) fn additions(self: &Arc<Self>) -> Additions {
        let shown = Arc::clone(self);
        let around = move |config: &ReceiverConfig, inner: Arc<dyn Receiver>| {
            let noted = Noted { name: config.name.clone(), shown: Arc::clone(&shown), inner };
            Arc::new(noted) as Arc<dyn Receiver>
        };
        Additions {
            observer: Some(Arc::clone(self) as Arc<dyn Observer>),
            log: Some(Arc::clone(self) as Arc<dyn LogSink>),
            around: Some(Arc::new(around)),
            ..Additions::default()
        }
    }

    /// Shows the names of receivers, or hides them.
    pub(super) fn show_names(&self, names: Names) {
        self.0.lock().names = names;
    }

    /// Begins a round of samples: those of earlier ones are not handled any more. Tells the id of each.
    pub(super) fn begin_round<'a>(&self, round: u64, names: impl Iterator<Item = &'a str>) -> Vec<String> {
        let mut state = self.0.lock();
        state.round = round;
        let ids = names.map(|name| {
            state.samples.insert(name.to_owned());
            format!("{name}#{round}")
        });
        ids.collect()
    }

    /// Notes a delivery that begins. Whether it is to be handled.
    fn begin(&self, receiver: &str, id: &str) -> bool {
        let mut state = self.0.lock();
        if state.open.len() >= OPEN_MAX {
            state.open.clear();
        }
        let is_outdated = state.is_outdated(id);
        let open = if is_outdated { Open::Outdated } else { Open::Handed(Vec::new()) };
        state.open.insert((receiver.to_owned(), id.to_owned()), open);
        !is_outdated
    }
}

impl State {
    fn is_outdated(&self, id: &str) -> bool {
        let parts = id.rsplit_once('#').filter(|(name, _)| self.samples.contains(*name));
        parts.and_then(|(_, round)| round.parse::<u64>().ok()).is_some_and(|round| round < self.round)
    }
}

#[async_trait]
impl Receiver for Noted {
    async fn receive(&self, message: Message) -> Result<(), ReceiveError> {
        if !self.shown.begin(&self.name, message.context.id()) {
            return Ok(());
        }
        self.inner.receive(message).await
    }
}

impl LogSink for Shown {
    fn record(&self, record: &LogRecord<'_>) {
        let context = if record.context.is_empty() { String::new() } else { format!("{}: ", record.context) };
        let level = record.level.as_str();
        let source = record.source.as_str();
        let line = format!("log {level} {source} {context}{}", record.text);
        let mut state = self.0.lock();
        let key = (record.receiver.to_owned(), record.message_id.to_owned());
        match state.open.get_mut(&key) {
            Some(Open::Handed(lines)) => lines.push(line),
            // It came after the delivery was settled.
            _ => output::line(format_args!("        {}: {line}", record.message_id)),
        }
    }
}

impl Observer for Shown {
    fn settled(&self, settled: &Settled<'_>) {
        let (open, names) = {
            let mut state = self.0.lock();
            (state.open.remove(&(settled.receiver.to_owned(), settled.id.to_owned())), state.names)
        };
        let lines = match open {
            Some(Open::Outdated) => return,
            Some(Open::Handed(lines)) => lines,
            // It did not come as far as the component.
            None => Vec::new(),
        };
        output::painted(text(settled, &lines, names));
    }
}

/// The lines about a delivery, as one text: others are shown at the same time.
fn text(settled: &Settled<'_>, lines: &[String], names: Names) -> String {
    let (word, color) = match settled.verdict {
        Verdict::Ack => ("ack    ", AnsiColor::Green),
        Verdict::Nack { .. } => ("nack   ", AnsiColor::Yellow),
        Verdict::DeadLetter { .. } => ("reject ", AnsiColor::Red),
    };
    let mut first = format!("{}  {:.1?}", output::name(settled.id), settled.took);
    if names == Names::Shown {
        first.push_str(&format!("  receiver {}", settled.receiver));
    }
    if settled.attempt > 1 {
        first.push_str(&format!("  attempt {}", settled.attempt));
    }
    if let Verdict::Nack { delay, .. } = settled.verdict {
        first.push_str(&format!("  again in {}", rounded(delay)));
    }
    let mut all = vec![format!("{} {}", coloured(color, word), shown(&first))];
    let mut add = |line: &str| all.push(format!("        {}", shown(line)));
    if let Some(error) = settled.error {
        add(&format!("error {}: {}", error.reason().as_str(), cut(error.text(), ERROR_BYTES_MAX)));
        error.backtrace().into_iter().flat_map(str::lines).for_each(|frame| add(&format!("  {frame}")));
    }
    for publication in settled.published.iter().take(PUBLISHED_MAX) {
        let Publication { topic, attributes, body, delay, .. } = publication;
        let delay = if delay.is_zero() { String::new() } else { format!(" after {}", rounded(*delay)) };
        add(&format!("published {topic}{delay}, {}{}", counted(body.len(), "byte"), preview(body)));
        for (name, values) in attributes.iter() {
            add(&format!("  {name}: {}", cut(&values.join(", "), BODY_BYTES_MAX)));
        }
    }
    if let Some(more) = settled.published.len().checked_sub(PUBLISHED_MAX).filter(|more| *more > 0) {
        add(&format!("published {more} more"));
    }
    lines.iter().for_each(|line| add(line));
    all.join("\n")
}

/// The beginning of a body that is text.
fn preview(body: &Bytes) -> String {
    match std::str::from_utf8(body) {
        Ok("") | Err(_) => String::new(),
        Ok(text) => format!(": {}", cut(text, BODY_BYTES_MAX)),
    }
}

fn rounded(delay: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_millis(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)))
}
