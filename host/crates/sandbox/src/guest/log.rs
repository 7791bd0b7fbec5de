//! Output of guests: their log lines, standard output and standard error.

use std::sync::Arc;

use parking_lot::Mutex;
use wasmpost_msg::Context;

use super::audit::{Audit, Denied};
use crate::limits::{Limits, Work};

/// So many lines that are over the limit, and the log of the delivery is full: looking at each line takes time.
const DROPPED_ONE_BY_ONE: u64 = 256;

/// Takes what guests write.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use wasmpost_msg::shown;
/// use wasmpost_sandbox::{Level, LogRecord, LogSink, ReceiverOptions};
///
/// /// Prints what matters.
/// struct Printed;
///
/// impl LogSink for Printed {
///     fn record(&self, record: &LogRecord<'_>) {
///         if record.level >= Level::Warn {
///             println!("{}: {}", record.receiver, shown(record.text));
///         }
///     }
/// }
///
/// let options = ReceiverOptions { log: Arc::new(Printed), ..ReceiverOptions::default() };
/// # drop(options);
/// ```
pub trait LogSink: Send + Sync {
    /// Takes one line. It must not wait.
    fn record(&self, record: &LogRecord<'_>);
}

/// One line that a guest wrote. The texts come from the guest: escape them where they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRecord<'a> {
    /// The receiver.
    pub receiver: &'a str,
    /// The id of the message that it was working on.
    pub message_id: &'a str,
    /// How much the line matters.
    pub level: Level,
    /// The source of the line.
    pub source: LogSource,
    /// The word that groups lines, empty if there is none.
    pub context: &'a str,
    /// The line.
    pub text: &'a str,
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Trace,
    /// For the one who looks for a fault.
    Debug,
    /// For the one who operates it.
    Info,
    /// Something may be wrong.
    Warn,
    /// Something is wrong.
    Error,
    /// Nothing works any more.
    Critical,
}

/// The source of a line.
///
/// # Examples
///
/// ```
/// use wasmpost_sandbox::{LogRecord, LogSource};
///
/// fn is_of_guest(record: &LogRecord<'_>) -> bool {
///     record.source != LogSource::Host
/// }
/// # drop(is_of_guest);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSource {
    /// Through `wasi:logging`.
    Logging,
    /// To standard output.
    Stdout,
    /// To standard error.
    Stderr,
    /// By the host, about what the guest wrote.
    Host,
}

impl Level {
    /// The word for it, such as `info`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

impl LogSource {
    /// The word for it, such as `stdout`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logging => "logging",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Host => "host",
        }
    }
}

/// Hands lines to `tracing` as they are. Escape control characters where they are shown, as the log of the host does.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use wasmpost_sandbox::{ReceiverOptions, TracingSink};
///
/// let options = ReceiverOptions { log: Arc::new(TracingSink), ..ReceiverOptions::default() };
/// # drop(options);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct TracingSink;

/// The log of one delivery, within its bounds.
pub(crate) struct GuestLog {
    sink: Arc<dyn LogSink>,
    receiver: Arc<str>,
    /// Where what is written is counted, whether it fits in or not.
    work: Arc<Work>,
    left: Mutex<Left>,
}

struct Left {
    context: Context,
    bytes: usize,
    lines: u32,
    dropped: u64,
    audit: Audit,
}

impl GuestLog {
    pub(crate) fn new(
        sink: Arc<dyn LogSink>,
        receiver: Arc<str>,
        work: &Arc<Work>,
        context: Context,
        limits: &Limits,
    ) -> Arc<Self> {
        let work = Arc::clone(work);
        let left = Mutex::new(Left::new(context, limits, 1));
        Arc::new(Self { sink, receiver, work, left })
    }

    /// Where the work of writing is counted.
    pub(crate) fn work(&self) -> &Arc<Work> {
        &self.work
    }

    /// Goes on with the lines of another delivery, or of a call that has so many of them.
    pub(crate) fn begin(&self, context: Context, limits: &Limits, deliveries: u32) {
        let before = std::mem::replace(&mut *self.left.lock(), Left::new(context, limits, deliveries));
        self.tell_rest(&before);
    }

    /// Tells what was left untold of a delivery that is over, without waiting for the next one.
    pub(crate) fn end(&self) {
        let before = {
            let mut left = self.left.lock();
            let context = left.context.clone();
            let audit = std::mem::take(&mut left.audit);
            let dropped = std::mem::take(&mut left.dropped);
            Left { context, bytes: 0, lines: 0, dropped, audit }
        };
        self.tell_rest(&before);
    }

    /// Passes a line on if there is room for it, and counts it otherwise.
    pub(crate) fn line(&self, level: Level, source: LogSource, context: &str, text: &str) {
        let delivery = {
            let mut left = self.left.lock();
            let bytes = context.len() + text.len();
            if left.lines == 0 || left.bytes < bytes {
                left.drop_lines(1);
                return;
            }
            left.lines -= 1;
            left.bytes -= bytes;
            left.context.clone()
        };
        self.record(&delivery, level, source, context, text);
    }

    /// How many bytes of a line may still be held back until it ends, or none if no line fits any more.
    pub(crate) fn bytes_left(&self) -> Option<usize> {
        let left = self.left.lock();
        (left.lines > 0).then_some(left.bytes)
    }

    /// Counts lines that were not even looked at.
    pub(crate) fn drop_lines(&self, count: u64) {
        self.left.lock().drop_lines(count);
    }

    /// Says something about the delivery that is of the host.
    pub(crate) fn tell(&self, level: Level, text: &str) {
        let delivery = self.left.lock().context.clone();
        self.record(&delivery, level, LogSource::Host, "", text);
    }

    /// Takes down that the delivery was denied something: the first few on their own, the others by their number.
    pub(crate) fn denied(&self, denied: &Denied<'_>) {
        let (delivery, is_told) = {
            let mut left = self.left.lock();
            (left.context.clone(), left.audit.take(denied))
        };
        if is_told {
            denied.tell(&self.receiver, delivery.id());
        }
    }

    /// Says how much was dropped or not told, so that nobody takes the log for complete.
    fn tell_rest(&self, left: &Left) {
        left.audit.tell_rest(&self.receiver, left.context.id());
        if left.dropped > 0 {
            let text = format!("{} log lines over the limit were dropped", left.dropped);
            self.record(&left.context, Level::Warn, LogSource::Host, "", &text);
        }
    }

    fn record(&self, delivery: &Context, level: Level, source: LogSource, context: &str, text: &str) {
        let receiver = &*self.receiver;
        let message_id = delivery.id();
        self.sink.record(&LogRecord { receiver, message_id, level, source, context, text });
    }
}

impl Drop for GuestLog {
    fn drop(&mut self) {
        self.tell_rest(&self.left.lock());
    }
}

impl Left {
    fn new(context: Context, limits: &Limits, deliveries: u32) -> Self {
        let bytes = limits.log_bytes.bytes().saturating_mul(deliveries as usize);
        let lines = limits.log_lines.saturating_mul(deliveries);
        Self { context, bytes, lines, dropped: 0, audit: Audit::default() }
    }

    fn drop_lines(&mut self, count: u64) {
        self.dropped = self.dropped.saturating_add(count);
        if self.dropped >= DROPPED_ONE_BY_ONE {
            self.lines = 0;
        }
    }
}

impl LogSink for TracingSink {
    fn record(&self, record: &LogRecord<'_>) {
        let LogRecord { receiver, message_id: id, level, source, context, text } = *record;
        macro_rules! emit {
            ($level:ident) => {
                tracing::$level!(target: "wasmpost::guest", receiver, id, source = source.as_str(), context, "{text}")
            };
        }
        match level {
            Level::Trace => emit!(trace),
            Level::Debug => emit!(debug),
            Level::Info => emit!(info),
            Level::Warn => emit!(warn),
            Level::Error | Level::Critical => emit!(error),
        }
    }
}
