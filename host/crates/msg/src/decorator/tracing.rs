//! Traces across messages, in the form of W3C Trace Context: the attributes `Traceparent` and `Tracestate`.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tracing::Instrument;

use crate::attributes::Attributes;
use crate::error::ReceiveError;
use crate::message::Message;
use crate::receiver::Receiver;
use crate::topic::{MessageWriter, Topic, WriteError};

const TRACEPARENT: &str = "Traceparent";
const TRACESTATE: &str = "Tracestate";
/// The longest state that is passed on, in bytes: what is longer may be dropped, says the standard.
const STATE_BYTES_MAX: usize = 512;
/// Recorded, and random: the flags that there are. Others are not passed on, says the standard.
const FLAGS_KNOWN: u8 = 0b11;

/// The place of a piece of work in a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace, never 0.
    pub trace_id: u128,
    /// The piece of work, never 0.
    pub span_id: u64,
    /// The flags; the lowest bit says that the trace is being recorded.
    pub flags: u8,
    /// Values that systems on the way added, unchanged.
    pub state: Option<String>,
}

/// A receiver whose work on each message is a span in the trace that the message came with, or in a new one where it
/// came with none or a broken one.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::decorator::tracing::{TraceContext, TracingReceiver};
/// use wasmpost_msg::{Attributes, Message, Receiver, ReceiverFunc};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sent = TraceContext::root();
/// let mut attributes = Attributes::new();
/// sent.inject(&mut attributes);
///
/// let trace_id = sent.trace_id;
/// let receiver = TracingReceiver(ReceiverFunc(move |_| async move {
///     // Of the same trace, in a span of its own.
///     assert_eq!(TraceContext::current().unwrap().trace_id, trace_id);
///     Ok(())
/// }));
/// receiver.receive(Message::new(attributes, "")).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TracingReceiver<R>(pub R);

/// A topic whose messages carry on the trace of the message that is being received, or begin a new one.
#[derive(Debug, Clone)]
pub struct TracingTopic<T>(pub T);

tokio::task_local! {
    static CURRENT: TraceContext;
}

impl TraceContext {
    /// The first piece of work of a new trace.
    pub fn root() -> Self {
        Self { trace_id: fastrand::u128(1..), span_id: fastrand::u64(1..), flags: 1, state: None }
    }

    /// A piece of work within this one.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { span_id: fastrand::u64(1..), ..self.clone() }
    }

    /// The context of the message that this task is receiving.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// The context that a message came with, if it came with a well-formed one.
    pub fn extract(attributes: &Attributes) -> Option<Self> {
        // Two values are ignored: there is no telling which is right.
        let [parent] = attributes.values(TRACEPARENT) else { return None };
        let parent = parent.trim();
        let [version, trace_id, span_id, flags] = parts(parent)?;
        let hexadecimal = |part: &str, digits: usize| {
            let fits = part.len() == digits && part.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
            fits.then(|| u128::from_str_radix(part, 16).ok()).flatten()
        };
        // 255 is no version; later versions may say more than this one, which then is left aside.
        let version = hexadecimal(version, 2).filter(|version| *version != 255)?;
        if version == 0 && parent.len() != 55 {
            return None;
        }
        let trace_id = hexadecimal(trace_id, 32).filter(|id| *id != 0)?;
        let span_id = hexadecimal(span_id, 16).filter(|id| *id != 0)?;
        let state = attributes.values(TRACESTATE).join(",");
        let is_passed_on = !state.is_empty()
            && state.len() <= STATE_BYTES_MAX
            && state.bytes().all(|byte| byte == b'\t' || matches!(byte, b' '..=b'~'));
        Some(Self {
            trace_id,
            span_id: u64::try_from(span_id).ok()?,
            flags: u8::try_from(hexadecimal(flags, 2)?).ok()? & FLAGS_KNOWN,
            state: is_passed_on.then_some(state),
        })
    }

    /// Has a message carry this context.
    pub fn inject(&self, attributes: &mut Attributes) {
        let Self { trace_id, span_id, flags, state } = self;
        attributes.set(TRACEPARENT, format!("00-{trace_id:032x}-{span_id:016x}-{flags:02x}"));
        match state {
            Some(state) => attributes.set(TRACESTATE, state),
            None => drop(attributes.remove(TRACESTATE)),
        }
    }
}

fn parts(parent: &str) -> Option<[&str; 4]> {
    let mut parts = parent.split('-');
    Some([parts.next()?, parts.next()?, parts.next()?, parts.next()?])
}

#[async_trait]
impl<R: Receiver> Receiver for TracingReceiver<R> {
    async fn receive(&self, message: Message) -> Result<(), ReceiveError> {
        let parent = TraceContext::extract(&message.attributes);
        let context = parent.as_ref().map_or_else(TraceContext::root, TraceContext::child);
        let span = tracing::info_span!(
            "receive",
            otel.kind = "consumer",
            id = message.context.id(),
            trace_id = %format_args!("{:032x}", context.trace_id),
            span_id = %format_args!("{:016x}", context.span_id),
            parent_id = parent.map(|parent| format!("{:016x}", parent.span_id)),
        );
        CURRENT.scope(context, self.0.receive(message).instrument(span)).await
    }
}

impl<T: Topic> Topic for TracingTopic<T> {
    fn new_writer(&self) -> Box<dyn MessageWriter> {
        Box::new(TracingWriter(self.0.new_writer()))
    }
}

struct TracingWriter(Box<dyn MessageWriter>);

#[async_trait]
impl MessageWriter for TracingWriter {
    fn attributes(&mut self) -> &mut Attributes {
        self.0.attributes()
    }

    fn set_delay(&mut self, delay: Duration) {
        self.0.set_delay(delay);
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), WriteError> {
        self.0.write(chunk).await
    }

    async fn close(&mut self) -> Result<(), WriteError> {
        let context = TraceContext::current().map_or_else(TraceContext::root, |current| current.child());
        context.inject(self.0.attributes());
        let span = tracing::info_span!(
            "publish",
            otel.kind = "producer",
            trace_id = %format_args!("{:032x}", context.trace_id),
            span_id = %format_args!("{:016x}", context.span_id),
        );
        self.0.close().instrument(span).await
    }
}
