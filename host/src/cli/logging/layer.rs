//! From events to lines: what is written and how, and what is only counted.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use wasmpost_msg::counted;

use super::human::{self, Colours};
use super::json;
use super::line::{self, Fields, Line, SpanVisitor};
use super::sums::{Admitted, Kind, Model, Place, Sums};
use super::writer::{Between, Writer};

/// The target of what guests write.
const GUEST: &str = "wasmpost::guest";
/// The target of what the log says of itself.
const LOG: &str = "wasmpost::log";
/// The longest name of a receiver or queue by which lines are told apart, in bytes.
const ABOUT_BYTES_MAX: usize = 256;

/// How lines look.
#[derive(Debug, Clone, Copy)]
pub(super) enum Look {
    /// For programs.
    Json,
    /// For people.
    Human(Colours),
}

/// Whether equal lines are summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeats {
    /// Some are written and the rest counted.
    Summed,
    /// Every line is written.
    Written,
}

/// The log: takes events, hands lines to the writer.
#[derive(Clone)]
pub(super) struct Log {
    pub(super) look: Look,
    pub(super) repeats: Repeats,
    pub(super) writer: Writer,
    pub(super) sums: Arc<Sums>,
}

impl Look {
    pub(super) fn written(self, line: &Line) -> Vec<u8> {
        match self {
            Self::Json => json::written(line),
            Self::Human(colours) => human::written(line, colours),
        }
    }
}

impl Log {
    /// Writes a line that is no event.
    pub(super) fn write(&self, line: &Line) {
        self.writer.push(&self.look.written(line));
    }

    /// Tells what was counted, and waits until all is written, at most until `deadline`.
    pub(super) fn end(&self, deadline: Instant) {
        self.sums.all(Instant::now()).iter().for_each(|line| self.write(line));
        self.writer.flush(deadline);
    }

    fn is_counted(&self, event: &Event<'_>, place: Place, cost: usize) -> bool {
        let mut about = About::default();
        event.record(&mut about);
        let (name, about) = about.found();
        let metadata = event.metadata();
        let model = || Model {
            level: *metadata.level(),
            target: metadata.target(),
            message: match place {
                Place::Guest => "lines of the guest, over the budget of its receiver".to_owned(),
                Place::Host(_) => Line::of(event).message.unwrap_or_default(),
            },
            about: name,
        };
        let admitted = self.sums.admit(Kind { place: place.clone(), about }, cost as f64, Instant::now(), model);
        if admitted == Admitted::CountedFirst {
            self.writer.wake();
        }
        admitted != Admitted::Written
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Log {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut SpanVisitor(&mut fields));
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(&mut SpanVisitor(fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let is_guests = metadata.target() == GUEST;
        let is_summed = self.repeats == Repeats::Summed && *metadata.level() <= Level::INFO;
        // Before it is made into text, or what is only counted would cost as much.
        if is_summed && !is_guests && self.is_counted(event, Place::Host(metadata.callsite()), 1) {
            return;
        }
        let mut line = Line::of(event);
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            line.spans.push((span.name(), span.extensions().get::<Fields>().cloned().unwrap_or_default()));
        }
        let bytes = self.look.written(&line);
        if is_guests && self.repeats == Repeats::Summed && self.is_counted(event, Place::Guest, bytes.len()) {
            return;
        }
        self.writer.push(&bytes);
    }
}

impl Between for Log {
    fn dropped(&self, lines: u64) -> Vec<u8> {
        let message =
            format!("dropped {} of the log: they came faster than they could be written", counted(lines, "line"));
        self.look.written(&Line::new(Level::WARN, LOG, Some(message)).with("dropped", lines))
    }

    fn tick(&self, writer: &Writer, now: Instant) -> Option<Instant> {
        let (lines, next) = self.sums.due(now);
        lines.iter().for_each(|line| writer.push(&self.look.written(line)));
        next
    }
}

/// Finds what an event is about.
#[derive(Default)]
struct About {
    receiver: Option<String>,
    queue: Option<String>,
}

impl About {
    fn found(self) -> (&'static str, String) {
        match (self.receiver, self.queue) {
            (Some(receiver), _) => ("receiver", receiver),
            (None, queue) => ("queue", queue.unwrap_or_default()),
        }
    }
}

impl Visit for About {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let place = match field.name() {
            "receiver" => &mut self.receiver,
            "queue" => &mut self.queue,
            _ => return,
        };
        *place = Some(line::bounded(format_args!("{value:?}"), ABOUT_BYTES_MAX));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use parking_lot::Mutex;
    use serde_json::Value;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that come of what `work` logs.
    fn logged(look: Look, work: impl FnOnce()) -> Vec<String> {
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let log = Log { look, repeats: Repeats::Summed, writer: Writer::default(), sums: Arc::default() };
        log.writer.start(Memory(Arc::clone(&written)), log.clone()).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log.clone()), work);
        log.end(Instant::now() + std::time::Duration::from_secs(20));
        let written = written.lock();
        String::from_utf8(written.clone()).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_of_json_has_each_key_once_whatever_fields_are_called() {
        let lines = logged(Look::Json, || {
            let span = tracing::info_span!("work", name = "n", id = "in span");
            let _entered = span.enter();
            tracing::info!(
                timestamp = 1,
                level = "l",
                target = 2,
                span = 3,
                spans = 4,
                message = 5,
                message_ = 6,
                "told"
            );
        });
        let [line] = &lines[..] else { panic!("{lines:?}") };
        for key in ["timestamp", "level", "message", "target", "span", "spans", "message_", "message__"] {
            assert_eq!(line.matches(&format!("\"{key}\":")).count(), 1, "{key} in {line}");
        }
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["message"], &line["message_"], &line["message__"]), (&"told".into(), &5.into(), &6.into()));
        assert_eq!(line["span"], serde_json::json!({ "name_": "n", "id": "in span", "name": "work" }));
        assert_eq!(line["spans"], serde_json::json!([line["span"]]));
    }

    #[test]
    fn json_gives_texts_as_they_were_and_has_nothing_that_a_terminal_obeys() {
        let text = "{\"msg\":\"it's C:\\tmp\"}\t\u{1b}[31m\u{9b}2J\n\u{202e}\u{e0041}\u{7f}\u{1f600}";
        let lines = logged(Look::Json, || tracing::warn!(error = text, shown = %text, "{text}"));
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(!line.contains(wasmpost_msg::is_obeyed), "{line:?}");
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!([&line["message"], &line["error"], &line["shown"]], [text; 3]);
    }

    #[test]
    fn people_see_quotes_as_they_are_and_controls_replaced() {
        let lines = logged(Look::Human(Colours::Off), || {
            tracing::warn!(error = "exit \"1\"\u{1b}[2J", path = "C:\\tmp", number = 7, "it's C:\\tmp\n\u{202e}x");
        });
        let [line] = &lines[..] else { panic!("{lines:?}") };
        let (_, line) = line.split_once("Z ").unwrap();
        assert_eq!(line, r#" WARN it's C:\tmp\n\u{202e}x error="exit "1"\u{1b}[2J" path=C:\tmp number=7"#);
    }

    #[test]
    fn long_texts_are_cut() {
        let long = "x".repeat(1 << 20);
        let lines = logged(Look::Json, || tracing::warn!(topic = %long, receiver = long, "refused"));
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        for name in ["topic", "receiver"] {
            assert_eq!(line[name].as_str().unwrap().len(), (8 << 10) + '\u{2026}'.len_utf8());
        }
    }

    #[test]
    fn equal_lines_are_summed_by_receiver_and_none_is_lost() {
        let lines = logged(Look::Json, || {
            for number in 0..1000 {
                tracing::warn!(receiver = "loud", number, "failed");
            }
            tracing::warn!(receiver = "quiet", "failed");
            tracing::debug!(receiver = "loud", "acked");
        });
        let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = |receiver: &str| lines.iter().filter(|line| line["receiver"] == receiver).count();
        // A hundred, the sum, and what was asked for with debug.
        assert_eq!((of("loud"), of("quiet")), (102, 1));
        let more: u64 = lines.iter().filter_map(|line| line["more"].as_u64()).sum();
        assert_eq!(more, 900);
    }
}
