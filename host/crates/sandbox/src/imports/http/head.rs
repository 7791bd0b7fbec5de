//! The heads of a response: what a server says before the body has a bound, however often it says that it will go on.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{FIELDS_BYTES_MAX, INFORMATIONAL_MAX};

/// The state of reading the heads of one response.
#[derive(Debug, Clone, Default)]
pub(super) struct Heads(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    informational: AtomicU32,
    is_over: AtomicBool,
    /// Whether they are too long or too many.
    is_too_much: AtomicBool,
}

/// A connection that is read from only as long as its heads are within their bounds.
pub(super) struct HeadReader<S> {
    stream: S,
    heads: Heads,
    bytes: usize,
}

impl Heads {
    /// Counts an informational head.
    pub(super) fn count(&self) {
        if self.0.informational.fetch_add(1, Ordering::Relaxed) >= INFORMATIONAL_MAX {
            self.0.is_too_much.store(true, Ordering::Relaxed);
        }
    }

    /// The response's own head was read.
    pub(super) fn end(&self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }

    pub(super) fn are_too_much(&self) -> bool {
        self.0.is_too_much.load(Ordering::Relaxed)
    }

    /// Reads a connection within these bounds.
    pub(super) fn reader<S>(&self, stream: S) -> HeadReader<S> {
        HeadReader { stream, heads: self.clone(), bytes: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadReader<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let seen = Arc::clone(&self.heads.0);
        if !seen.is_over.load(Ordering::Relaxed) && self.bytes > FIELDS_BYTES_MAX {
            seen.is_too_much.store(true, Ordering::Relaxed);
        }
        if self.heads.are_too_much() {
            return Poll::Ready(Err(io::Error::other("heads of the response are too long or too many")));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.bytes = self.bytes.saturating_add(buffer.filled().len() - before);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadReader<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
