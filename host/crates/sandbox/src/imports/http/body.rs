//! Bodies of requests and responses, behind their limits.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};
use wasmtime_wasi::runtime::AbortOnDropJoinHandle;
use wasmtime_wasi_http::{Error, WasiBody};

use super::send::fault;
use crate::limits::Work;

type Polled = Poll<Option<Result<Frame<Bytes>, Error>>>;

/// Tells that the body of a request was over its limit, wherever that makes something fail.
#[derive(Debug, Clone, Default)]
pub(super) struct Overrun(Arc<AtomicBool>);

/// The resources that a request keeps until its response is read or dropped.
pub(super) struct Open {
    pub(super) _permit: OwnedSemaphorePermit,
    pub(super) _connection: AbortOnDropJoinHandle<()>,
}

/// The body that a guest writes.
pub(super) struct RequestBody {
    body: WasiBody,
    room: Room,
    overrun: Overrun,
}

/// The body that a guest reads.
pub(super) struct ResponseBody {
    incoming: Incoming,
    room: Room,
    /// The longest pause between two pieces.
    pause_max: Duration,
    /// The pause that lasts.
    pause: Option<Pin<Box<Sleep>>>,
    /// Nothing once the body has ended.
    open: Option<Open>,
    overrun: Overrun,
}

/// The limit of a body, and the rest of it.
pub(super) struct Room {
    max: u64,
    left: u64,
    /// Where what goes by is counted.
    work: Arc<Work>,
}

impl Overrun {
    pub(super) fn happened(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Room {
    pub(super) fn new(max: u64, work: &Arc<Work>) -> Self {
        Self { max, left: max, work: Arc::clone(work) }
    }

    /// Whether a piece fits in.
    fn take(&mut self, frame: &Frame<Bytes>) -> bool {
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        self.work.add(usize::try_from(bytes).unwrap_or(usize::MAX));
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or(0);
        left.is_some()
    }
}

impl RequestBody {
    pub(super) fn new(body: WasiBody, room: Room, overrun: Overrun) -> Self {
        Self { body, room, overrun }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && !self.room.take(frame)
        {
            self.overrun.0.store(true, Ordering::Relaxed);
            return Poll::Ready(Some(Err(Error::HttpRequestBodySize(Some(self.room.max)))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl ResponseBody {
    pub(super) fn new(incoming: Incoming, room: Room, pause_max: Duration, open: Open, overrun: Overrun) -> Self {
        // A response without a body has ended with its head.
        let open = (!incoming.is_end_stream()).then_some(open);
        Self { incoming, room, pause_max, pause: None, open, overrun }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Polled {
        match Pin::new(&mut self.incoming).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.pause = None;
                let fits = self.room.take(&frame);
                Poll::Ready(Some(if fits { Ok(frame) } else { Err(Error::HttpResponseBodySize(Some(self.room.max))) }))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(fault(&error, self.room.max, &self.overrun)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                // Counts from when the guest looks for more, not from when it got the last piece.
                let pause_max = self.pause_max;
                ready!(self.pause.get_or_insert_with(|| Box::pin(sleep(pause_max))).as_mut().poll(context));
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        let polled = self.poll_next(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.open = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
