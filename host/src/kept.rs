//! The last lines that guests wrote, kept for whoever looks at a running host.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, RwLock};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use wasmpost_msg::cut;
use wasmpost_sandbox::{LogRecord, LogSink};

/// How many lines are kept of a receiver, and of how many bytes together.
const LINES_MAX: usize = 500;
const BYTES_MAX: usize = 128 << 10;
/// How much is kept of a line, in bytes.
const LINE_BYTES_MAX: usize = 4 << 10;
/// How much a line takes beside its texts, in bytes.
const LINE_BESIDES: usize = 128;

/// A line that a guest wrote. Its texts come from the guest: escape them where they are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptLine {
    /// Its number among those of its receiver, from 1.
    pub number: u64,
    /// When it was written, in milliseconds since 1970.
    pub at_ms: u64,
    /// How much it matters.
    pub level: Cow<'static, str>,
    /// Where it comes from.
    pub source: Cow<'static, str>,
    /// The id of the message that the guest was working on.
    pub message: String,
    /// The word that groups lines, empty if there is none.
    pub context: String,
    /// The line, or its beginning.
    pub text: String,
}

/// The last lines of each receiver.
#[derive(Default)]
pub struct KeptLogs(RwLock<HashMap<String, Arc<KeptLog>>>);

/// The last lines of a receiver.
#[derive(Default)]
pub struct KeptLog {
    lines: Mutex<Lines>,
    added: Notify,
}

#[derive(Default)]
struct Lines {
    kept: VecDeque<KeptLine>,
    bytes: usize,
    /// The number of the last line.
    last: u64,
}

/// Keeps lines and hands them on.
pub(crate) struct Keeping {
    log: Arc<KeptLog>,
    next: Arc<dyn LogSink>,
}

impl KeptLogs {
    /// The lines of a receiver, if it is known.
    pub fn find(&self, receiver: &str) -> Option<Arc<KeptLog>> {
        self.0.read().get(receiver).cloned()
    }

    /// A log that keeps the lines of a receiver and hands them on.
    pub(crate) fn keeping(&self, receiver: &str, next: Arc<dyn LogSink>) -> Arc<Keeping> {
        let log = Arc::clone(self.0.write().entry(receiver.to_owned()).or_default());
        Arc::new(Keeping { log, next })
    }
}

impl KeptLog {
    /// At most `max` lines behind a number, oldest first: the last ones for number 0.
    pub fn after(&self, number: u64, max: usize) -> Vec<KeptLine> {
        let lines = self.lines.lock();
        let behind = lines.kept.partition_point(|line| line.number <= number);
        let skipped = if number == 0 { lines.kept.len().saturating_sub(max) } else { behind };
        lines.kept.iter().skip(skipped).take(max).cloned().collect()
    }

    /// Waits until there is a line behind a number.
    pub async fn has_more(&self, number: u64) {
        loop {
            let mut added = std::pin::pin!(self.added.notified());
            added.as_mut().enable();
            if self.lines.lock().last > number {
                return;
            }
            added.await;
        }
    }
}

impl LogSink for Keeping {
    fn record(&self, record: &LogRecord<'_>) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = KeptLine {
            number: 0,
            at_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
            level: record.level.as_str().into(),
            source: record.source.as_str().into(),
            message: record.message_id.to_owned(),
            context: cut(record.context, LINE_BYTES_MAX).into_owned(),
            text: cut(record.text, LINE_BYTES_MAX).into_owned(),
        };
        self.log.lines.lock().push(line);
        self.log.added.notify_waiters();
        self.next.record(record);
    }
}

impl Lines {
    fn push(&mut self, mut line: KeptLine) {
        self.last += 1;
        line.number = self.last;
        self.bytes += line.bytes();
        self.kept.push_back(line);
        while self.kept.len() > LINES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.kept.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
        }
    }
}

impl KeptLine {
    fn bytes(&self) -> usize {
        LINE_BESIDES + self.message.len() + self.context.len() + self.text.len()
    }
}

#[cfg(test)]
mod tests {
    use wasmpost_sandbox::{Level, LogSource};

    use super::*;

    struct Nowhere;

    impl LogSink for Nowhere {
        fn record(&self, _: &LogRecord<'_>) {}
    }

    fn write(sink: &Keeping, text: &str) {
        sink.record(&LogRecord {
            receiver: "r",
            message_id: "m",
            level: Level::Info,
            source: LogSource::Stdout,
            context: "",
            text,
        });
    }

    #[test]
    fn the_last_lines_are_kept_within_their_bounds() {
        let logs = KeptLogs::default();
        let sink = logs.keeping("r", Arc::new(Nowhere));
        let log = logs.find("r").unwrap();
        (0..2 * LINES_MAX).for_each(|number| write(&sink, &number.to_string()));
        let kept = log.after(0, usize::MAX);
        assert_eq!((kept.len(), kept[0].number, kept[0].text.as_str()), (LINES_MAX, 501, "500"));
        (0..100).for_each(|_| write(&sink, &"x".repeat(1 << 20)));
        let kept = log.after(0, usize::MAX);
        assert!(kept.len() < 100 && kept.iter().map(KeptLine::bytes).sum::<usize>() <= BYTES_MAX);
        assert!(logs.find("other").is_none());
    }

    #[tokio::test]
    async fn whoever_follows_gets_each_line_once() {
        let logs = KeptLogs::default();
        let sink = logs.keeping("r", Arc::new(Nowhere));
        let log = logs.find("r").unwrap();
        (1..=3).for_each(|number| write(&sink, &number.to_string()));
        let numbers = |lines: Vec<KeptLine>| lines.iter().map(|line| line.number).collect::<Vec<_>>();
        assert_eq!(numbers(log.after(0, 2)), [2, 3]);
        assert_eq!(numbers(log.after(1, 1)), [2]);
        log.has_more(2).await;
        let mut more = std::pin::pin!(log.has_more(3));
        assert!(futures::poll!(more.as_mut()).is_pending());
        write(&sink, "4");
        more.await;
        assert_eq!(numbers(log.after(3, 10)), [4]);
    }
}
