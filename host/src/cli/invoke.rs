//! `wasmpost invoke`: messages through a component, without a queue.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use parking_lot::Mutex;
use serde::Serialize;
use wasmpost_delivery::{RetryPolicy, Verdict};
use wasmpost_msg::{Attributes, Batch, Context, Message, Publication, ReceiveError, Receiver, Usage, counted};
use wasmpost_sandbox::{
    BATCH_MAX, EngineOptions, Grants, HttpOrigin, Limits, LogRecord, LogSink, ReceiverOptions, Size, TopicPattern,
    WasmReceiver,
};

use super::ndjson::Lines;
use super::output::JsonBody;
use super::publish::{attribute, attributes, read_body};
use super::single::{engine, sandbox};
use super::{Failure, output};

/// Hands a message to a component, without a queue, or several in one call.
///
/// Prints the verdict, what was published, the log, and what was used. The exit code is 0 when every message was processed,
/// and 1 when one was not.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  wasmpost invoke triage.wasm --attribute X-Github-Event=ping --body ping.json --publish 'github.*'
  wasmpost invoke sums.wasm --ndjson numbers.ndjson --publish out")]
pub(super) struct Invoke {
    /// The component.
    component: PathBuf,
    /// An attribute of the message. Giving one name several times gives it several values.
    #[arg(long, value_name = "K=V", value_parser = attribute)]
    attribute: Vec<(String, String)>,
    /// The file with the body; - for standard input. Empty unless given.
    #[arg(long, value_name = "FILE|-")]
    body: Option<PathBuf>,
    /// The file with several messages, one JSON object on each line, as for publish; - for standard input. A component that
    /// takes batches gets all of them in one call, another one after the other.
    #[arg(long, value_name = "FILE|-", conflicts_with_all = ["body", "attribute", "id"])]
    ndjson: Option<PathBuf>,
    /// The configuration that the component reads through wasi:config.
    #[arg(long, value_name = "K=V", value_parser = pair)]
    config: Vec<(String, String)>,
    /// A topic that the component may publish to, or a prefix that ends in *.
    #[arg(long, value_name = "TOPIC")]
    publish: Vec<TopicPattern>,
    /// An origin that the component may send HTTP requests to: scheme://host or scheme://host:port.
    #[arg(long, value_name = "ORIGIN")]
    http: Vec<HttpOrigin>,
    /// The world by which the component receives, where it implements several.
    #[arg(long, value_name = "NAME")]
    world: Option<String>,
    /// The topic that takes the standard output of a command, or the body of a response.
    #[arg(long, value_name = "TOPIC")]
    output: Option<String>,
    /// The number of the attempt that the component sees.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    attempt: u32,
    /// The id of the message.
    #[arg(long, default_value = "invoked")]
    id: String,
    /// Print one JSON object; with --ndjson, one on a line for each message.
    #[arg(long)]
    json: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The outcome of the message.
#[derive(Serialize)]
struct Report {
    /// The id of the message, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backtrace: Option<String>,
    published: Vec<Published>,
    log: Vec<LogLine>,
    component: Option<String>,
    duration_us: u64,
    cpu_us: u64,
    memory_peak_bytes: u64,
}

#[derive(Serialize)]
struct Published {
    topic: String,
    attributes: Attributes,
    #[serde(flatten)]
    body: JsonBody,
    #[serde(skip)]
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
}

#[derive(Clone, Serialize)]
struct LogLine {
    level: &'static str,
    source: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    context: String,
    text: String,
}

/// Keeps the log of the call, which the limits bound.
#[derive(Default)]
struct Collected(Mutex<Vec<LogLine>>);

impl LogSink for Collected {
    fn record(&self, record: &LogRecord<'_>) {
        let level = record.level.as_str();
        let source = record.source.as_str();
        let context = record.context.to_owned();
        let text = record.text.to_owned();
        self.0.lock().push(LogLine { level, source, context, text });
    }
}

impl Invoke {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let messages = self.messages()?;
        let limits = Limits::default();
        let sandbox = sandbox(EngineOptions { pool_instances: 4, ..engine() }, limits.memory)?;
        let loaded = sandbox.load_file(&self.component).map_err(Failure::usage)?;
        let log = Arc::new(Collected::default());
        let options = ReceiverOptions {
            name: self.component.display().to_string(),
            limits,
            grants: Grants { publish: self.publish.clone(), http: self.http.clone(), ..Grants::default() },
            config: self.config.iter().cloned().collect(),
            log: Arc::clone(&log) as Arc<dyn LogSink>,
            world: self.world.clone(),
            topic: "invoked".to_owned(),
            output: self.output.clone(),
            ..ReceiverOptions::default()
        };
        let receiver = WasmReceiver::new(sandbox, loaded, options).map_err(Failure::usage)?;
        if self.ndjson.is_some() {
            return self.receive_batch(&receiver, messages, &log).await;
        }
        let Some(message) = messages.into_iter().next() else { return Ok(()) };
        let context = message.context.clone();
        let result = receiver.receive(message).await;
        let log = log.0.lock().clone();
        self.tell(&Report::new(None, &result, context.outbox().take(), log, context.usage()))?;
        match result {
            Ok(()) => Ok(()),
            Err(_) => Err(Failure::failed(anyhow::anyhow!("message was not processed"))),
        }
    }

    /// The messages that are given.
    fn messages(&self) -> Result<Vec<Message>, Failure> {
        let Some(path) = &self.ndjson else {
            let body = self.body.as_ref().map(read_body).transpose()?.unwrap_or_default();
            let context = Context::new(self.id.clone(), self.attempt, Default::default());
            return Ok(vec![Message { attributes: attributes(&self.attribute), body: body.into(), context }]);
        };
        let text = read_body(path)?;
        let mut lines = Lines::new(&*text);
        let mut messages = Vec::new();
        let unreadable = |fault: String| Failure::usage(anyhow::anyhow!("{}: {fault}", path.display()));
        while let Some(line) = lines.next().map_err(|error| unreadable(error.to_string()))? {
            let number = lines.number();
            let line = line.map_err(|fault| unreadable(format!("line {number} {fault}")))?;
            let id = line.id.unwrap_or_else(|| format!("{}-{number}", self.id));
            let context = Context::new(id, self.attempt, Default::default());
            messages.push(Message { attributes: line.attributes, body: line.body.into(), context });
        }
        if messages.is_empty() || messages.len() > BATCH_MAX as usize {
            let fault = format!("{} messages; a call has 1 to {BATCH_MAX}", messages.len());
            return Err(unreadable(fault));
        }
        Ok(messages)
    }

    /// Hands all messages over in one call, and tells what became of each.
    async fn receive_batch(
        &self,
        receiver: &WasmReceiver,
        messages: Vec<Message>,
        log: &Collected,
    ) -> Result<(), Failure> {
        let contexts: Vec<_> = messages.iter().map(|message| message.context.clone()).collect();
        let results = receiver.receive_batch(Batch { messages, is_again: false }).await;
        let results = results.unwrap_or_else(|error| vec![Err(error); contexts.len()]);
        // The log is that of the call: it is shown with the first message.
        let mut log = std::mem::take(&mut *log.0.lock());
        for (context, result) in contexts.iter().zip(&results) {
            let id = Some(context.id().to_owned());
            let log = std::mem::take(&mut log);
            self.tell(&Report::new(id, result, context.outbox().take(), log, context.usage()))?;
        }
        match results.iter().filter(|result| result.is_err()).count() {
            0 => Ok(()),
            failed => {
                Err(Failure::failed(anyhow::anyhow!("{failed} of {} messages were not processed", results.len())))
            }
        }
    }

    fn tell(&self, report: &Report) -> Result<(), Failure> {
        match (self.json, &self.ndjson) {
            (true, Some(_)) => output::json_line(report)?,
            (true, None) => output::json(report)?,
            (false, _) => report.print(),
        }
        Ok(())
    }
}

impl Report {
    fn new(
        id: Option<String>,
        result: &Result<(), ReceiveError>,
        outbox: Vec<Publication>,
        log: Vec<LogLine>,
        usage: Usage,
    ) -> Self {
        let error = result.as_ref().err();
        let (verdict, delay) = match RetryPolicy::default().verdict(0, 0, result, 0.0) {
            Verdict::Ack => ("ack", None),
            Verdict::Nack { delay, .. } => ("nack", Some(delay)),
            Verdict::DeadLetter { .. } => ("reject", None),
        };
        // The messages of a failed delivery are dropped, as they would be in a queue.
        let outbox = if error.is_some() { Vec::new() } else { outbox };
        Self {
            id,
            verdict,
            delay_ms: delay.map(millis),
            reason: error.map(|error| error.reason().as_str()),
            error: error.map(|error| error.text().to_owned()),
            backtrace: error.and_then(|error| error.backtrace()).map(str::to_owned),
            published: outbox.into_iter().map(Published::from).collect(),
            log,
            component: usage.component.map(|component| component.digest.clone()),
            duration_us: usage.wall.as_micros() as u64,
            cpu_us: usage.cpu.as_micros() as u64,
            memory_peak_bytes: usage.memory_peak_bytes,
        }
    }

    fn print(&self) {
        let after =
            self.delay_ms.map(|delay| format!(" after {}", humantime::format_duration(Duration::from_millis(delay))));
        if let Some(id) = &self.id {
            output::line(format_args!("message     {id}"));
        }
        output::line(format_args!("verdict     {}{}", self.verdict, after.unwrap_or_default()));
        if let (Some(reason), Some(error)) = (self.reason, &self.error) {
            output::line(format_args!("reason      {reason}"));
            output::line(format_args!("error       {error}"));
        }
        for frame in self.backtrace.iter().flat_map(|backtrace| backtrace.lines()) {
            output::line(format_args!("            {frame}"));
        }
        for published in &self.published {
            let Published { topic, attributes, bytes, .. } = published;
            output::line(format_args!("published   {topic}, {}", counted(*bytes, "byte")));
            for (name, values) in attributes.iter() {
                output::line(format_args!("            {name}: {}", values.join(", ")));
            }
        }
        for LogLine { level, source, context, text } in &self.log {
            let context = if context.is_empty() { String::new() } else { format!("{context}: ") };
            output::line(format_args!("log         {level} {source} {context}{text}"));
        }
        let duration = Duration::from_micros(self.duration_us);
        let cpu = Duration::from_micros(self.cpu_us);
        output::line(format_args!("duration    {duration:?}"));
        output::line(format_args!("cpu         {cpu:?}"));
        output::line(format_args!("memory peak {}", Size(self.memory_peak_bytes)));
    }
}

impl From<Publication> for Published {
    fn from(publication: Publication) -> Self {
        let Publication { topic, attributes, body, delay, .. } = publication;
        let delay_ms = (!delay.is_zero()).then(|| millis(delay));
        Self { topic, attributes, bytes: body.len(), body: JsonBody::from(&body), delay_ms }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
