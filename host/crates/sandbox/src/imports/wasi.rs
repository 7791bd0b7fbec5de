//! WASI: clocks, randomness, and output that goes to the log. No files, sockets, environment or arguments.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime::component::Linker;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use crate::log::{GuestLog, Level, LogSource};
use crate::state::StoreState;

/// What a guest may write at a time, in bytes.
const WRITE_BYTES_MAX: usize = 64 << 10;
/// Random bytes that a guest may ask for at a time.
const RANDOM_BYTES_MAX: u64 = 64 << 10;

pub(super) fn add_to_linker(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)
}

/// The world as a guest sees it.
pub(crate) fn context(log: &Arc<GuestLog>) -> WasiCtx {
    let mut builder = WasiCtxBuilder::new();
    builder.stdout(GuestOutput { log: Arc::clone(log), source: LogSource::Stdout });
    builder.stderr(GuestOutput { log: Arc::clone(log), source: LogSource::Stderr });
    builder.max_random_size(RANDOM_BYTES_MAX);
    // Nothing is granted by default, but neither is anything left to what a later version takes for a default.
    builder.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false).allow_blocking_current_thread(false);
    builder.build()
}

/// Standard output or error of a guest.
struct GuestOutput {
    log: Arc<GuestLog>,
    source: LogSource,
}

/// Cuts what is written into lines for the log. It is always ready and never holds back more than one line.
struct LineStream {
    log: Arc<GuestLog>,
    source: LogSource,
    line: Vec<u8>,
}

impl LineStream {
    fn new(output: &GuestOutput) -> Self {
        Self { log: Arc::clone(&output.log), source: output.source, line: Vec::new() }
    }

    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            // What does not fit into the log any more need not be kept until its line ends; one byte too many is, so
            // that the line counts as dropped.
            let room = (self.log.bytes_left() + 1).saturating_sub(self.line.len());
            self.line.extend_from_slice(text.get(..room.min(text.len())).unwrap_or_default());
            if ends {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let level = if self.source == LogSource::Stderr { Level::Warn } else { Level::Info };
        let line = std::mem::take(&mut self.line);
        self.log.line(level, self.source, "", &String::from_utf8_lossy(&line));
    }
}

impl Drop for LineStream {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.end_line();
        }
    }
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(LineStream::new(self))
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(LineStream::new(self))
    }
}

impl OutputStream for LineStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LineStream {
    async fn ready(&mut self) {}
}

impl AsyncWrite for LineStream {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
