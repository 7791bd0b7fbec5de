//! The writer: the thread that owns the connection. It gathers the operations that wait, runs them in one transaction,
//! commits, and answers.

mod flush;
mod group;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use wasmpost_delivery::{BrokerError, BrokerErrorKind, Timestamp};

use self::flush::Flushes;
use self::group::Round;
use crate::channel::{Channel, Command, Flush, Leases, Pull, Reply, Request};
use crate::checkpoint::Checkpointer;
use crate::error::Failure;
use crate::job::Job;
use crate::store::Store;

/// The most operations in one group, and the most bytes of them.
const GROUP_MAX: usize = 512;
const GROUP_BYTES_MAX: usize = 4 << 20;
/// How long work in steps waits before it is checked again whether the log was copied.
const HELD_UP: Duration = Duration::from_millis(2);
/// How long the writer has to be idle before the file is tidied.
const IDLE: Duration = Duration::from_secs(1);

pub(crate) struct Writer {
    store: Store,
    channel: Arc<Channel>,
    receiver: Receiver<Command>,
    pulls: VecDeque<Pull>,
    drains: Vec<(i64, Reply<()>)>,
    /// Work in steps. One step of one of them is done in each group.
    jobs: VecDeque<Job>,
    checkpointer: Checkpointer,
    flushes: Flushes,
    time_kept: Timestamp,
    /// Whether there is something to tidy in the file.
    dirty: bool,
}

/// A command to end.
struct Close {
    leases: Leases,
    reply: Reply<()>,
}

/// The end of the writer, with its reason.
pub(crate) struct Ending {
    /// The answer to all later calls.
    failure: Failure,
    close: Option<Close>,
    /// The reply to a caller that asked for the end while something failed.
    reply: Option<Reply<()>>,
}

impl Writer {
    pub(crate) fn new(
        store: Store,
        channel: Arc<Channel>,
        receiver: Receiver<Command>,
        checkpointer: Checkpointer,
    ) -> Self {
        let flushes = Flushes::new(store.connection(), channel.acks().flush());
        Self {
            store,
            channel,
            receiver,
            pulls: VecDeque::new(),
            drains: Vec::new(),
            jobs: VecDeque::new(),
            checkpointer,
            flushes,
            time_kept: Timestamp::default(),
            dirty: false,
        }
    }

    pub(crate) fn start(store: Store, channel: Arc<Channel>, receiver: Receiver<Command>) -> Result<(), BrokerError> {
        let thread_fault = |error: std::io::Error| {
            BrokerError::new(BrokerErrorKind::Unavailable, "thread of the queue file could not be started")
                .caused_by(error)
        };
        let checkpointer = Checkpointer::start(store.path()).map_err(thread_fault)?;
        let writer = Self::new(store, channel, receiver, checkpointer);
        let thread = std::thread::Builder::new().name("wasmpost-queue".into());
        thread.spawn(move || writer.run()).map(drop).map_err(thread_fault)
    }

    fn run(mut self) {
        loop {
            let first = self.wait();
            self.channel.is_at_work(true);
            let ending = self.turn(first);
            self.channel.is_at_work(false);
            if let Some(ending) = ending {
                return self.end(ending);
            }
        }
    }

    /// Runs a group with `first` and the commands that wait. Returns the ending if it was the last.
    pub(crate) fn turn(&mut self, first: Option<Command>) -> Option<Ending> {
        let mut requests = Vec::new();
        let close = self.gather(first, &mut requests);
        let is_last = close.as_ref().is_some_and(|close| close.leases == Leases::GivenBack);
        let round = if is_last { Round::Last } else { Round::Usual };
        if let Err(failure) = self.group(requests, round) {
            tracing::error!(error = %failure.text, "queue file failed; it is not used any more");
            return Some(Ending { failure, close: None, reply: close.map(|close| close.reply) });
        }
        let text = format!("queue file {} was closed", self.store.path().display());
        let failure = Failure { kind: BrokerErrorKind::Closed, text };
        close.map(|close| Ending { failure, close: Some(close), reply: None })
    }

    /// Takes the commands that wait, from `next` on.
    fn gather(&mut self, mut next: Option<Command>, requests: &mut Vec<Request>) -> Option<Close> {
        let mut bytes = 0;
        while let Some(command) = next {
            match command {
                Command::Work(request) => {
                    bytes += request.bytes;
                    requests.push(request);
                }
                Command::Pull(pull) => self.pulls.push_back(pull),
                Command::Job(job) => self.jobs.push_back(job),
                Command::Drained { queue, reply } => self.drains.push((queue, reply)),
                Command::Look => {}
                Command::Close { leases, reply } => return Some(Close { leases, reply }),
            }
            if requests.len() >= GROUP_MAX || bytes >= GROUP_BYTES_MAX {
                return None;
            }
            next = self.receiver.try_recv().ok();
        }
        None
    }

    /// The next command; `None` when there is something to do without one.
    fn wait(&mut self) -> Option<Command> {
        if let Some(command) = self.try_next() {
            return Some(command);
        }
        if self.has_work() {
            return None;
        }
        let Some(patience) = self.patience() else {
            return self.receiver.recv().ok();
        };
        match self.receiver.recv_timeout(patience) {
            Ok(command) => Some(command),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                self.waited(patience);
                None
            }
        }
    }

    pub(crate) fn try_next(&self) -> Option<Command> {
        self.receiver.try_recv().ok()
    }

    /// Whether there is something to do at once without a command.
    pub(crate) fn has_work(&self) -> bool {
        !self.jobs.is_empty() && self.checkpointer.keeps_up() || self.store.has_over()
    }

    /// How long to wait for a command before there is something to do without one.
    pub(crate) fn patience(&mut self) -> Option<Duration> {
        // Pulls whose callers are gone need no more work.
        self.pulls.retain(|pull| !pull.reply.is_closed());
        let queues: BTreeSet<i64> = self.pulls.iter().map(|pull| pull.queue).collect();
        let next = self.store.next_time(queues.into_iter()).ok().flatten();
        let now = self.channel.now();
        let until_next = next.map(|next| next.since(now).max(Duration::from_millis(1)));
        let until_idle = self.dirty.then_some(IDLE);
        let ids_next = self.store.ids_next().filter(|_| !self.dirty);
        let until_ids = ids_next.map(|next| next.since(now).max(Duration::from_millis(1)));
        let until_copied = (!self.jobs.is_empty()).then_some(HELD_UP);
        let until_acks = self.channel.acks().wait();
        let until_flush = self.flushes.wait();
        [until_next, until_idle, until_ids, until_copied, until_acks, until_flush].into_iter().flatten().min()
    }

    /// Notes that no command came for a time.
    pub(crate) fn waited(&mut self, patience: Duration) {
        let now = self.channel.now();
        if self.dirty && patience >= IDLE || self.store.ids_next().is_some_and(|next| next <= now) {
            self.tidy(now);
        }
    }

    /// Bounded work for an idle moment; if there is more, the next moment goes on.
    fn tidy(&mut self, now: Timestamp) {
        self.dirty = self.store.tidy(now).unwrap_or_else(|error| {
            tracing::warn!(error = %error, "queue file could not be tidied");
            false
        });
        self.checkpointer.checkpoint();
    }

    #[cfg(feature = "prove")]
    pub(crate) fn copy_log(&self) {
        drop(self.store.connection().query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())));
    }

    #[cfg(feature = "prove")]
    pub(crate) fn copies_to_disk(&self) -> bool {
        self.level() >= 1
    }

    #[cfg(feature = "prove")]
    fn level(&self) -> i64 {
        self.store.connection().pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap_or(0)
    }

    #[cfg(feature = "prove")]
    pub(crate) fn is_synchronous(&self) -> bool {
        self.level() >= 2 && !self.flushes.is_behind()
    }

    /// Whether something was committed and answered that the disk may not have.
    #[cfg(feature = "prove")]
    pub(crate) fn is_behind(&self) -> bool {
        self.flushes.is_behind()
    }

    /// Takes no more calls, and answers those that wait by dropping them.
    pub(crate) fn end(mut self, Ending { failure, close, reply }: Ending) {
        for job in self.jobs.drain(..) {
            // Its answer has the number of letters so far.
            job.answer(Err(failure.clone().into()));
        }
        // Confirmed messages are gone with the file; the caller that closes it must get the error.
        let is_gone = close.is_none() && failure.kind == BrokerErrorKind::Closed;
        let mut closed = if is_gone { Err(failure.clone()) } else { Ok(()) };
        match is_gone {
            true => self.channel.end_without_file(failure),
            false => self.channel.end(failure),
        }
        let mut replies: Vec<_> = reply.into_iter().collect();
        while let Ok(command) = self.receiver.try_recv() {
            if let Command::Close { reply, .. } = command {
                replies.push(reply);
            }
        }
        self.checkpointer.end();
        match close {
            Some(Close { leases: Leases::GivenBack, reply }) => {
                closed = self.close(&reply);
                replies.push(reply);
            }
            Some(Close { reply, .. }) => replies.push(reply),
            None => {}
        }
        self.store.abandon();
        // The lock is free before anybody is told that the file is closed.
        drop(self);
        for reply in replies {
            // A caller that went away needs no answer.
            drop(reply.send(closed.clone().map_err(BrokerError::from)));
        }
    }

    /// Closes the file in order. An error if confirmed messages are gone with the file; it is logged if no caller waits
    /// for `reply`.
    fn close(&mut self, reply: &Reply<()>) -> Result<(), Failure> {
        let flushed = self.flushes.begin(self.store.connection(), Flush::Now).map(drop);
        let Err(error) = flushed.and_then(|()| self.store.close(self.channel.now())) else { return Ok(()) };
        let failure = self.store.failure(&error);
        let is_gone = failure.kind == BrokerErrorKind::Closed;
        if !is_gone || reply.is_closed() {
            tracing::error!(error = %failure.text, "queue file was not closed in order; leases are given back when it is opened");
        }
        if is_gone { Err(failure) } else { Ok(()) }
    }
}
