//! Publishing messages while they are read: in batches as long as they come, at once when they pause.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use wasmpost_delivery::Broker;
use wasmpost_msg::Publication;

use super::Failure;
use super::target::{Missing, Target};

/// The most messages, and bytes of them, that are published at once.
const BATCH_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 1 << 20;
/// How long the input has to pause until what was read is published, and the broker is let go.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the broker is kept while messages come one after the other. A queue file is then free for the next command.
const KEPT: Duration = Duration::from_millis(500);
/// If closing it takes long, as on a slow disk, it is kept for so many times as long: opening takes about as long, and
/// most of the time is to go into publishing.
const KEPT_TIMES: u32 = 20;
/// It is kept no longer than this in any case: others wait for their turn.
const KEPT_MAX: Duration = Duration::from_secs(5);
/// How many pieces of input are read ahead.
const READ_AHEAD: usize = 2;

/// Messages that were read without waiting in between.
#[derive(Default)]
pub(super) struct Piece {
    /// Messages with the number of their line, and what is wrong with lines that are none.
    pub(super) lines: Vec<(u64, Result<Publication, String>)>,
    /// How many bytes of the input were read so far.
    pub(super) position: u64,
    /// The error, if nothing more can be read for another reason than the end.
    pub(super) fault: Option<String>,
    bytes: usize,
}

/// The next event of the input.
pub(super) enum Next {
    Piece(Piece),
    Pause,
    End,
}

/// Publishes to a broker that is opened when there is something to publish, and let go when there is not.
pub(super) struct Feed<'a> {
    target: &'a Target,
    broker: Option<(Arc<dyn Broker>, Instant)>,
    /// How long it took to close it, the last time.
    closing: Duration,
    batch: Vec<Publication>,
    bytes: usize,
    /// The lines of the first and the last message in the batch.
    span: Option<(u64, u64)>,
    /// How many messages were published.
    pub(super) published: usize,
    /// How many of them were published before, so that nothing was added.
    pub(super) duplicates: usize,
}

/// The input, read by a thread of its own so that the command can act while it waits.
pub(super) fn read_ahead(mut read: impl FnMut() -> Option<Piece> + Send + 'static) -> mpsc::Receiver<Piece> {
    let (sender, pieces) = mpsc::channel(READ_AHEAD);
    std::thread::spawn(move || {
        while let Some(piece) = read() {
            if sender.blocking_send(piece).is_err() {
                return;
            }
        }
    });
    pieces
}

impl Piece {
    pub(super) fn add(&mut self, number: u64, line: Result<Publication, String>) {
        self.bytes += line.as_ref().map_or(0, Publication::bytes);
        self.lines.push((number, line));
    }

    pub(super) fn is_full(&self) -> bool {
        self.lines.len() >= BATCH_MAX || self.bytes >= BATCH_BYTES_MAX
    }
}

impl<'a> Feed<'a> {
    pub(super) fn new(target: &'a Target) -> Self {
        Self {
            target,
            broker: None,
            closing: Duration::ZERO,
            batch: Vec::new(),
            bytes: 0,
            span: None,
            published: 0,
            duplicates: 0,
        }
    }

    /// Waits for the next piece of the input. It pauses where something is to be done meanwhile: [`Self::settle`].
    pub(super) async fn next(&self, pieces: &mut mpsc::Receiver<Piece>) -> Next {
        if self.batch.is_empty() && self.broker.is_none() {
            return pieces.recv().await.map_or(Next::End, Next::Piece);
        }
        match timeout(PAUSE, pieces.recv()).await {
            Ok(piece) => piece.map_or(Next::End, Next::Piece),
            Err(_) => Next::Pause,
        }
    }

    /// Publishes what is in the batch, and lets the broker go.
    pub(super) async fn settle(&mut self) -> Result<(), Failure> {
        self.flush().await?;
        self.let_go().await
    }

    /// Adds a message, and publishes the batch when it is full.
    pub(super) async fn add(&mut self, line: u64, publication: Publication) -> Result<(), Failure> {
        self.bytes += publication.bytes();
        self.batch.push(publication);
        self.span = Some((self.span.map_or(line, |(first, _)| first), line));
        if self.batch.len() >= BATCH_MAX || self.bytes >= BATCH_BYTES_MAX {
            self.flush().await?;
        }
        Ok(())
    }

    /// Publishes what is in the batch.
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        let Some((first, last)) = self.span.take() else { return Ok(()) };
        let sent = self.send(batch).await;
        sent.map_err(|failure| failure.within(self.so_far(format_args!("publishing lines {first} to {last} failed"))))
    }

    async fn send(&mut self, batch: Vec<Publication>) -> Result<(), Failure> {
        let (broker, since) = match self.broker.take() {
            Some(open) => open,
            None => (self.target.open_for_more(Missing::Made).await?.broker(), Instant::now()),
        };
        let receipts = broker.publish(batch).await?;
        self.published += receipts.len();
        self.duplicates += receipts.iter().filter(|receipt| receipt.duplicate).count();
        self.broker = Some((broker, since));
        if since.elapsed() >= (self.closing * KEPT_TIMES).clamp(KEPT, KEPT_MAX) {
            self.let_go().await?;
        }
        Ok(())
    }

    /// Closes the broker, if it is open.
    pub(super) async fn let_go(&mut self) -> Result<(), Failure> {
        let Some((broker, _)) = self.broker.take() else { return Ok(()) };
        let began = Instant::now();
        broker.close().await?;
        self.closing = began.elapsed();
        Ok(())
    }

    /// A fault, and how much was published before it.
    pub(super) fn so_far(&self, fault: impl Display) -> String {
        format!("{fault}; the {} before it are published", self.published)
    }
}
