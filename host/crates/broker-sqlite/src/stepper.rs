//! The writer without its thread, for proofs: it runs one group when it is told to, so that a test decides the order of
//! all events and can repeat them.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use wasmpost_delivery::Timestamp;

use crate::channel::{Channel, Command};
use crate::checkpoint::Checkpointer;
use crate::store::Store;
use crate::writer::Writer;

/// The writer of a queue file, driven by a test. Dropping it stands for the end of a process that was killed.
///
/// # Examples
///
/// ```no_run
/// use std::path::Path;
///
/// use wasmpost_broker_sqlite::{SqliteBroker, SqliteOptions, Step, Stepper};
///
/// let (broker, mut stepper): (_, Stepper) =
///     SqliteBroker::open_stepped(Path::new("queue.db"), SqliteOptions::default())?;
/// while stepper.step() == Step::Worked {}
/// # drop(broker);
/// # Ok::<(), wasmpost_delivery::BrokerError>(())
/// ```
pub struct Stepper {
    writer: Option<Writer>,
    channel: Arc<Channel>,
    /// How long the writer was to wait for a command before there is something to do, and the time at which that ends.
    waiting: Option<(Duration, Timestamp)>,
}

/// The outcome of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A group was committed, or failed and was answered.
    Worked,
    /// There is nothing to do before a command comes or, if there is one, this time has passed.
    Waits(Option<Duration>),
    /// The writer has ended.
    Ended,
}

impl Stepper {
    pub(crate) fn new(store: Store, channel: Arc<Channel>, receiver: Receiver<Command>) -> Self {
        let writer = Writer::new(store, Arc::clone(&channel), receiver, Checkpointer::idle());
        Self { writer: Some(writer), channel, waiting: None }
    }

    /// Runs one group, if there is something to do.
    pub fn step(&mut self) -> Step {
        let Some(writer) = &mut self.writer else { return Step::Ended };
        let first = writer.try_next();
        if first.is_none() && !writer.has_work() {
            let now = self.channel.now();
            match self.waiting {
                Some((patience, until)) if until <= now => writer.waited(patience),
                Some((_, until)) => return Step::Waits(Some(until.since(now))),
                None => {
                    let patience = writer.patience();
                    self.waiting = patience.map(|patience| (patience, now.after(patience)));
                    return Step::Waits(patience);
                }
            }
        }
        self.waiting = None;
        let Some(ending) = writer.turn(first) else { return Step::Worked };
        if let Some(writer) = self.writer.take() {
            writer.end(ending);
        }
        Step::Ended
    }

    /// Waits until a command has been sent since the last call of this.
    pub async fn sent(&mut self) {
        self.channel.sent.notified().await;
    }

    /// Whether acknowledgements were answered that are not committed, or not on disk.
    pub fn gathers(&self) -> bool {
        self.channel.acks().wait().is_some() || self.writer.as_ref().is_some_and(Writer::is_behind)
    }

    /// Copies the log into the file, as its thread does now and then.
    pub fn checkpoint(&self) {
        if let Some(writer) = &self.writer {
            writer.copy_log();
        }
    }

    /// Whether log and file are on disk when the log has been copied.
    pub fn copies_to_disk(&self) -> bool {
        self.writer.as_ref().is_some_and(Writer::copies_to_disk)
    }

    /// Whether changes are on disk when their commit returns.
    pub fn is_synchronous(&self) -> bool {
        self.writer.as_ref().is_some_and(Writer::is_synchronous)
    }
}
