//! `wasmpost dead-letters`: lists, shows, redrives and deletes dead letters.

use clap::{Args, Subcommand};
use serde::Serialize;
use wasmpost_delivery::{
    Attempt, Broker, BrokerError, BrokerErrorKind, DeadLetter, DeadLetterFilter, DeadLetters as DeadLettersOfBroker,
    Listed,
};
use wasmpost_msg::{Reason, counted};
use wasmpost_sandbox::Size;

use super::output::JsonBody;
use super::target::{Missing, Target};
use super::{Failure, output};

/// How many dead letters are asked for at a time.
const PAGE: usize = 50;
/// How many ids are named in one request.
const IDS: usize = 500;

/// Lists, shows, redrives or purges dead letters.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wasmpost dead-letters list --queue webhooks --reason trap
  wasmpost dead-letters show 0198f2c4-5b1e-7c3a-9d9f-0c6f1a2b3c4d
  wasmpost dead-letters redrive --all --reason timeout
  wasmpost dead-letters purge --all")]
pub(super) struct DeadLetters {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// One line for each dead letter, oldest first.
    List(List),
    /// Everything that is known about the dead letters of a message.
    Show(Show),
    /// Puts dead letters back into the queues that they died in, with no failures counted.
    Redrive(Selected),
    /// Deletes dead letters.
    Purge(Selected),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wasmpost dead-letters list --queue webhooks --reason trap")]
struct List {
    #[command(flatten)]
    filter: Filter,
    /// Print a JSON array, with body_bytes instead of the bodies: see `show`. One that is as long as --max may not be
    /// all.
    #[arg(long)]
    json: bool,
    /// The most to list. A note on standard error says how many were left out.
    #[arg(long, default_value_t = 1000, value_name = "NUMBER")]
    max: usize,
    /// The number to leave out first: those that were listed before.
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    skip: usize,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wasmpost dead-letters show ID --body > body.json")]
struct Show {
    /// The id of the message.
    id: String,
    /// Print a JSON array, the body included.
    #[arg(long)]
    json: bool,
    /// Print the body as it is, and nothing else.
    #[arg(long, conflicts_with = "json")]
    body: bool,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  wasmpost dead-letters redrive ID\n  wasmpost dead-letters purge --all --queue webhooks"
)]
struct Selected {
    /// The ids of messages.
    #[arg(value_name = "ID", required_unless_present = "all")]
    ids: Vec<String>,
    /// Every dead letter that matches the filters.
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Clone, Args)]
struct Filter {
    /// Only those of this queue.
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    /// Only those that died for this reason, such as rejected, attempts, trap, cpu-limit.
    #[arg(long)]
    reason: Option<Reason>,
}

impl Filter {
    fn of(self, ids: Vec<String>) -> DeadLetterFilter {
        DeadLetterFilter { ids, queue: self.queue, reason: self.reason }
    }
}

impl DeadLetters {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.verb {
            Verb::List(verb) => verb.run().await,
            Verb::Show(verb) => verb.run().await,
            Verb::Redrive(verb) => {
                let count = verb.count(async |letters, filter| letters.redrive(&filter).await).await?;
                told(count, "redriven")
            }
            Verb::Purge(verb) => {
                let count = verb.count(async |letters, filter| letters.purge(&filter).await).await?;
                told(count, "purged")
            }
        }
    }
}

/// Says how many; none that were named by id is a failure, because somebody expected them.
fn told((count, asked_by_id): (u64, bool), what: &str) -> Result<(), Failure> {
    output::line(format_args!("{count} {what}"));
    if count == 0 && asked_by_id {
        return Err(Failure::failed(anyhow::anyhow!("no dead letter has any of these ids")));
    }
    Ok(())
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let Self { filter, json, max, skip, target } = self;
        let filter = filter.of(Vec::new());
        let broker = target.open_to_look().await?;
        let letters = broker.dead_letters().ok_or_else(unsupported)?;
        let find = async |found| letters.list(&filter, skip + found, PAGE.min(max - found)).await;
        let found = pages(max, find).await?;
        let shown = found.len();
        let is_cut = shown == max && !letters.list(&filter, skip.saturating_add(max), 1).await?.is_empty();
        let left_out = if is_cut { Some(left_out(&*broker, &filter, shown, skip).await?) } else { None };
        broker.close().await?;
        if json {
            output::json(&found)?;
        } else {
            let rows: Vec<_> = found.iter().map(cells).collect();
            output::table(&["ID", "QUEUE", "REASON", "ATTEMPTS", "DIED", "ERROR"], &rows);
        }
        left_out.into_iter().for_each(output::note);
        Ok(())
    }
}

/// Says how many dead letters are not in a list, as far as the broker counts those that are meant.
async fn left_out(
    broker: &dyn Broker,
    filter: &DeadLetterFilter,
    shown: usize,
    skip: usize,
) -> Result<String, BrokerError> {
    let counted = async || {
        let stats = broker.stats().await?.into_iter();
        let meant = stats.filter(|stats| filter.queue.as_ref().is_none_or(|queue| *queue == stats.queue));
        Ok::<u64, BrokerError>(meant.map(|stats| stats.dead).sum())
    };
    let of = match filter.reason {
        None => format!(" of {}", counted().await?),
        Some(_) => String::new(),
    };
    let next = skip + shown;
    Ok(format!("{shown}{of} shown, and there are more behind them: --skip {next} shows the next, --max more of them"))
}

impl Show {
    async fn run(self) -> Result<(), Failure> {
        let filter = self.filter.of(vec![self.id.clone()]);
        let broker = self.target.open_to_look().await?;
        let dead = broker.dead_letters().ok_or_else(unsupported)?;
        let letters = pages(PAGE, async |found| dead.show(&filter, found, PAGE - found).await).await?;
        broker.close().await?;
        if letters.is_empty() {
            return Err(Failure::failed(anyhow::anyhow!("no dead letter has the id {:?}", self.id)));
        }
        if self.json {
            return output::json(&letters.iter().map(Full::from).collect::<Vec<_>>());
        }
        for letter in &letters {
            if self.body { output::raw(&letter.body) } else { print(letter) }
        }
        Ok(())
    }
}

impl Selected {
    async fn count(
        self,
        act: impl AsyncFn(&dyn DeadLettersOfBroker, DeadLetterFilter) -> Result<u64, BrokerError>,
    ) -> Result<(u64, bool), Failure> {
        let by_id = !self.ids.is_empty();
        let broker = self.target.open_for_more(Missing::Refused).await?.broker();
        let letters = broker.dead_letters().ok_or_else(unsupported)?;
        let mut count = 0;
        if by_id {
            for ids in self.ids.chunks(IDS) {
                count += act(letters, self.filter.clone().of(ids.to_vec())).await?;
            }
        } else {
            count = act(letters, self.filter.of(Vec::new())).await?;
        }
        broker.close().await?;
        Ok((count, by_id))
    }
}

fn unsupported() -> BrokerError {
    BrokerError::new(BrokerErrorKind::Unsupported, "this broker shows no dead letters")
}

/// All pages, until there are `max` letters or no more. `find` gives the page behind so many.
async fn pages<T>(max: usize, find: impl AsyncFn(usize) -> Result<Vec<T>, BrokerError>) -> Result<Vec<T>, BrokerError> {
    let mut found = Vec::new();
    while found.len() < max {
        let page = find(found.len()).await?;
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    Ok(found)
}

/// A dead letter with its body, for JSON.
#[derive(Serialize)]
struct Full<'a> {
    #[serde(flatten)]
    letter: &'a DeadLetter,
    #[serde(flatten)]
    body: JsonBody,
}

impl<'a> From<&'a DeadLetter> for Full<'a> {
    fn from(letter: &'a DeadLetter) -> Self {
        Self { letter, body: JsonBody::from(&letter.body) }
    }
}

fn cells(Listed { letter, .. }: &Listed) -> Vec<String> {
    let error = letter.evidence.error.lines().next().unwrap_or_default();
    let error = error.chars().take(60).collect();
    let reason = letter.evidence.reason.to_string();
    let died = output::time(letter.dead_at);
    vec![letter.id.clone(), letter.queue.clone(), reason, letter.deliveries.to_string(), died, error]
}

fn print(letter: &DeadLetter) {
    let evidence = &letter.evidence;
    let field = |name: &str, value: &str| output::line(format_args!("{name:<12} {value}"));
    field("id", &letter.id);
    field("queue", &letter.queue);
    field("topic", &letter.topic);
    if let Some(key) = &letter.key {
        field("key", key);
    }
    field("published", &output::time(letter.published_at));
    field("died", &output::time(letter.dead_at));
    field("reason", evidence.reason.as_str());
    field("error", &evidence.error);
    for frame in evidence.backtrace.iter().flat_map(|backtrace| backtrace.lines()) {
        field("", frame);
    }
    for (name, value) in
        [("receiver", &evidence.receiver), ("component", &evidence.component), ("version", &evidence.component_version)]
    {
        if let Some(value) = value {
            field(name, value);
        }
    }
    field("cpu", &format!("{:?}", evidence.cpu));
    field("wall", &format!("{:?}", evidence.wall));
    field("memory peak", &Size(evidence.memory_peak_bytes).to_string());
    field("unpublished", &Size(evidence.published_bytes).to_string());
    field("hops", &letter.hops.to_string());
    letter.attempts.iter().for_each(print_attempt);
    for (name, values) in letter.attributes.iter() {
        field("attribute", &format!("{name}: {}", values.join(", ")));
    }
    field("body", &format!("{} (see --body or --json)", counted(letter.body.len(), "byte")));
}

fn print_attempt(attempt: &Attempt) {
    let Attempt { number, started_at, duration, verdict, delay, reason, error } = attempt;
    let delay = delay.map(|delay| format!(" after {delay:.1?}")).unwrap_or_default();
    let at = output::time(*started_at);
    output::line(format_args!(
        "{:<12} {number} at {at} took {duration:.1?}: {verdict}{delay}, {reason}: {error}",
        "attempt"
    ));
}
