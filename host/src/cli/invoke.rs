//! `wasmpost invoke`: one message through a component, without a queue.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use parking_lot::Mutex;
use serde::Serialize;
use wasmpost_delivery::{RetryPolicy, Verdict};
use wasmpost_msg::{Attributes, Context, Message, Publication, ReceiveError, Receiver, Usage};
use wasmpost_sandbox::{
    EngineOptions, Grants, HttpOrigin, Limits, LogRecord, LogSink, ReceiverOptions, Size, TopicPattern, WasmReceiver,
};

use super::output::JsonBody;
use super::publish::{attribute, attributes, read_body};
use super::single::{engine, sandbox};
use super::{Failure, output};

/// Hands one message to a component, without a queue.
///
/// Prints the verdict, what was published, the log, and what was used. The exit code is 0 when the message was
/// processed, and 1 when it was not.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  wasmpost invoke triage.wasm --attribute X-Github-Event=ping --body ping.json --publish 'github.*'")]
pub(super) struct Invoke {
    /// The component.
    component: PathBuf,
    /// An attribute of the message. Giving one name several times gives it several values.
    #[arg(long, value_name = "K=V", value_parser = attribute)]
    attribute: Vec<(String, String)>,
    /// The file with the body; - for standard input. Empty unless given.
    #[arg(long, value_name = "FILE|-")]
    body: Option<PathBuf>,
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
    /// Print one JSON object.
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
        let body = self.body.as_ref().map(read_body).transpose()?.unwrap_or_default();
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
        let context = Context::new(self.id.clone(), self.attempt, Default::default());
        let attributes = attributes(&self.attribute);
        let message = Message { attributes, body: body.into(), context: context.clone() };
        let result = receiver.receive(message).await;
        let log = log.0.lock().clone();
        let report = Report::new(&result, context.outbox().take(), log, context.usage());
        if self.json {
            output::json(&report)?
        } else {
            report.print()
        }
        match result {
            Ok(()) => Ok(()),
            Err(_) => Err(Failure::failed(anyhow::anyhow!("message was not processed"))),
        }
    }
}

impl Report {
    fn new(result: &Result<(), ReceiveError>, outbox: Vec<Publication>, log: Vec<LogLine>, usage: Usage) -> Self {
        let error = result.as_ref().err();
        let (verdict, delay) = match RetryPolicy::default().verdict(0, 0, result, 0.0) {
            Verdict::Ack => ("ack", None),
            Verdict::Nack { delay, .. } => ("nack", Some(delay)),
            Verdict::DeadLetter { .. } => ("reject", None),
        };
        // The messages of a failed delivery are dropped, as they would be in a queue.
        let outbox = if error.is_some() { Vec::new() } else { outbox };
        Self {
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
            output::line(format_args!("published   {topic}, {bytes} bytes"));
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
