//! The writer without its thread, for proofs: it does one group whenever it is told to, so that a test decides the order of
//! all that happens, and can do the same again.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use wasmpost_delivery::Timestamp;

use crate::channel::{Channel, Command};
use crate::checkpoint::Checkpointer;
use crate::store::Store;
use crate::writer::Writer;

/// The writer of a queue file, in the hands of a test. Dropping it is the end of a process, without any order.
pub struct Stepper {
    writer: Option<Writer>,
    channel: Arc<Channel>,
    /// How long no command was to come before there was something to do, and until when that is.
    waiting: Option<(Duration, Timestamp)>,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A group was done, or failed and was answered.
    Worked,
    /// There is nothing to do before a command comes or, where one is told, this time has passed.
    Waits(Option<Duration>),
    /// The writer has ended.
    Ended,
}

impl Stepper {
    pub(crate) fn new(store: Store, channel: Arc<Channel>, receiver: Receiver<Command>) -> Self {
        let writer = Writer::new(store, Arc::clone(&channel), receiver, Checkpointer::idle());
        Self { writer: Some(writer), channel, waiting: None }
    }

    /// Does one group, if there is something to do.
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

    /// Waits until a command was sent since this was last waited for.
    pub async fn sent(&mut self) {
        self.channel.sent.notified().await;
    }

    /// Whether acknowledgements were given that are not committed.
    pub fn gathers(&self) -> bool {
        self.channel.acks().wait().is_some()
    }

    /// Copies the log into the file, as the thread for it does now and then.
    pub fn checkpoint(&self) {
        if let Some(writer) = &self.writer {
            writer.copy_log();
        }
    }

    /// Whether what is committed now is on disk when the commit returns.
    pub fn is_synchronous(&self) -> bool {
        self.writer.as_ref().is_some_and(Writer::is_synchronous)
    }
}
