//! The writer: the thread that owns the connection. It gathers what waits, runs it in one transaction, commits, and
//! answers.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;
use wasmpost_delivery::{BrokerError, BrokerErrorKind, Delivery, Timestamp};

use crate::channel::{Channel, Command, Pull, Reply, Request};
use crate::checkpoint::Checkpointer;
use crate::error::{Failure, Fault, Outcome, is_fatal};
use crate::store::Store;

/// The most operations, and bytes of them, in one group.
const GROUP_MAX: usize = 512;
const GROUP_BYTES_MAX: usize = 4 << 20;
/// How long nothing has to happen before the file is tidied.
const IDLE: Duration = Duration::from_secs(1);
/// How often the time is stored while there is work.
const TIME_KEPT_EVERY: Duration = Duration::from_secs(1);

pub(crate) struct Writer {
    store: Store,
    channel: Arc<Channel>,
    receiver: Receiver<Command>,
    pulls: VecDeque<Pull>,
    drains: Vec<(i64, Reply<()>)>,
    checkpointer: Checkpointer,
    time_kept: Timestamp,
    /// Whether there is something to tidy in the file.
    dirty: bool,
}

/// How the writer is told to end.
struct Close {
    give_back: bool,
    reply: oneshot::Sender<()>,
}

/// Why a group failed, and whether it did so while it was committed.
struct GroupFailure {
    error: rusqlite::Error,
    committing: bool,
}

impl Writer {
    pub(crate) fn start(store: Store, channel: Arc<Channel>, receiver: Receiver<Command>) -> Result<(), BrokerError> {
        let thread_fault = |error: std::io::Error| {
            BrokerError::new(BrokerErrorKind::Unavailable, "thread of the queue file could not be started")
                .caused_by(error)
        };
        let checkpointer = Checkpointer::start(store.path()).map_err(thread_fault)?;
        let writer = Self {
            store,
            channel,
            receiver,
            pulls: VecDeque::new(),
            drains: Vec::new(),
            checkpointer,
            time_kept: Timestamp::default(),
            dirty: false,
        };
        let thread = std::thread::Builder::new().name("wasmpost-queue".into());
        thread.spawn(move || writer.run()).map(drop).map_err(thread_fault)
    }

    fn run(mut self) {
        loop {
            let mut requests = Vec::new();
            let close = self.gather(&mut requests);
            if let Err(failure) = self.group(requests) {
                tracing::error!(error = %failure.text, "queue file failed; it is not used any more");
                return self.end(failure, None);
            }
            if let Some(close) = close {
                let text = format!("queue file {} was closed", self.store.path().display());
                return self.end(Failure { kind: BrokerErrorKind::Closed, text }, Some(close));
            }
        }
    }

    /// Waits for something to do, then takes what else is there.
    fn gather(&mut self, requests: &mut Vec<Request>) -> Option<Close> {
        let mut bytes = 0;
        let mut next = self.wait();
        while let Some(command) = next {
            match command {
                Command::Work(request) => {
                    bytes += request.bytes;
                    requests.push(request);
                }
                Command::Pull(pull) => self.pulls.push_back(pull),
                Command::Drained { queue, reply } => self.drains.push((queue, reply)),
                Command::Look => {}
                Command::Close { give_back, reply } => return Some(Close { give_back, reply }),
            }
            if requests.len() >= GROUP_MAX || bytes >= GROUP_BYTES_MAX {
                return None;
            }
            next = self.receiver.try_recv().ok();
        }
        None
    }

    /// The next command; none when the time has come to look without one.
    fn wait(&mut self) -> Option<Command> {
        if let Ok(command) = self.receiver.try_recv() {
            return Some(command);
        }
        // Pulls that nobody waits for any more would be looked after for nothing.
        self.pulls.retain(|pull| !pull.reply.is_closed());
        let queues: BTreeSet<i64> = self.pulls.iter().map(|pull| pull.queue).collect();
        let next = self.store.next_time(queues.into_iter()).ok().flatten();
        let now = self.channel.now();
        let until_next = next.map(|next| next.since(now).max(Duration::from_millis(1)));
        let until_idle = self.dirty.then_some(IDLE);
        let Some(patience) = [until_next, until_idle].into_iter().flatten().min() else {
            return self.receiver.recv().ok();
        };
        match self.receiver.recv_timeout(patience) {
            Ok(command) => Some(command),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                if self.dirty && patience >= IDLE {
                    self.tidy(now);
                }
                None
            }
        }
    }

    /// Bounded work for an idle moment; the next goes on where there is more.
    fn tidy(&mut self, now: Timestamp) {
        self.dirty = self.store.tidy(now).unwrap_or_else(|error| {
            tracing::warn!(%error, "queue file could not be tidied");
            false
        });
        self.checkpointer.checkpoint();
    }

    /// Runs everything in one transaction. If that fails, each operation gets one of its own, so that what cannot be
    /// done fails alone. An error ends the writer.
    fn group(&mut self, mut requests: Vec<Request>) -> Result<(), Failure> {
        match self.attempt(&mut requests, true) {
            Ok(results) => {
                self.answer(requests, results);
                return Ok(());
            }
            Err(failure) => self.recover(&failure)?,
        }
        for request in requests {
            let mut alone = vec![request];
            let results = match self.attempt(&mut alone, false) {
                Ok(results) => results,
                Err(failure) => {
                    self.recover(&failure)?;
                    vec![Some(self.store.failure(&failure.error).into())]
                }
            };
            self.answer(alone, results);
        }
        if let Err(failure) = self.attempt(&mut [], true) {
            self.recover(&failure)?;
            let failure = self.store.failure(&failure.error);
            for pull in self.pulls.drain(..) {
                drop(pull.reply.send(Err(failure.clone().into())));
            }
        }
        Ok(())
    }

    fn recover(&mut self, failure: &GroupFailure) -> Result<(), Failure> {
        self.store.roll_back();
        if is_fatal(&failure.error, failure.committing) {
            return Err(self.store.failure(&failure.error).last());
        }
        Ok(())
    }

    /// One transaction. Tells for each request why it was refused, if it was.
    fn attempt(&mut self, requests: &mut [Request], serve: bool) -> Result<Vec<Option<BrokerError>>, GroupFailure> {
        let running = |error| GroupFailure { error, committing: false };
        let now = self.channel.now();
        let before = self.store.rows_changed();
        let is_synced = requests.iter().any(|request| request.work.is_awaited());
        self.store.sync_commits(is_synced).map_err(running)?;
        self.store.begin_at(now).map_err(running)?;
        let mut results = Vec::with_capacity(requests.len());
        for request in requests.iter_mut() {
            results.push(refusal(request.work.run(&mut self.store)).map_err(running)?);
        }
        let served = if serve { self.serve().map_err(running)? } else { Vec::new() };
        if now.since(self.time_kept) >= TIME_KEPT_EVERY && self.store.rows_changed() > before {
            self.store.keep_time(now).map_err(running)?;
            self.time_kept = now;
        }
        self.store.commit().map_err(|error| GroupFailure { error, committing: true })?;
        if self.store.rows_changed() > before {
            self.channel.count_commit(is_synced);
            let bytes = requests.iter().map(|request| request.bytes).sum();
            self.checkpointer.committed(self.store.connection(), bytes);
            self.dirty = true;
        }
        for (pull, deliveries) in served {
            // Deliveries that nobody waits for any more give their leases back as they are dropped.
            drop(pull.reply.send(Ok(deliveries)));
        }
        self.answer_drains();
        Ok(results)
    }

    /// Lets leases lapse and messages expire, and leases what is due to those who wait for it, in their order.
    fn serve(&mut self) -> rusqlite::Result<Vec<(Pull, Vec<Delivery>)>> {
        if self.store.is_late(self.channel.now()) {
            refusal(self.store.lapse())?;
        }
        refusal(self.store.expire_all())?;
        let mut served: Vec<(usize, Vec<Delivery>)> = Vec::new();
        for (place, pull) in self.pulls.iter().enumerate().filter(|(_, pull)| !pull.reply.is_closed()) {
            let deliveries = match self.store.lease(pull.queue, pull.max, pull.lasts) {
                Ok(deliveries) => deliveries,
                Err(Fault::Sqlite(error)) => return Err(error),
                Err(Fault::Refused(_)) => Vec::new(),
            };
            if !deliveries.is_empty() {
                served.push((place, deliveries));
            }
        }
        // From the back, so that the places before stay what they are.
        let taken = served.into_iter().rev().filter_map(|(place, found)| Some((self.pulls.remove(place)?, found)));
        Ok(taken.collect())
    }

    fn answer(&mut self, requests: Vec<Request>, results: Vec<Option<BrokerError>>) {
        for (request, refused) in requests.into_iter().zip(results) {
            request.work.answer(refused.map_or(Ok(()), Err));
        }
    }

    /// What was committed stays so if this fails: those who wait are told, and nobody else.
    fn answer_drains(&mut self) {
        for (queue, reply) in std::mem::take(&mut self.drains) {
            match self.store.is_drained(queue) {
                Ok(true) => drop(reply.send(Ok(()))),
                Ok(false) if reply.is_closed() => {}
                Ok(false) => self.drains.push((queue, reply)),
                Err(error) => drop(reply.send(Err(self.store.failure(&error).into()))),
            }
        }
    }

    /// Takes no more calls, and answers those that wait by dropping them.
    fn end(mut self, failure: Failure, close: Option<Close>) {
        self.channel.end(failure);
        let mut replies: Vec<_> = Vec::new();
        while let Ok(command) = self.receiver.try_recv() {
            if let Command::Close { reply, .. } = command {
                replies.push(reply);
            }
        }
        self.checkpointer.end();
        match close {
            Some(Close { give_back: true, reply }) => {
                if let Err(error) = self.store.close(self.channel.now()) {
                    tracing::error!(%error, "queue file was not closed in order; leases are given back when it is opened");
                }
                replies.push(reply);
            }
            Some(Close { reply, .. }) => replies.push(reply),
            None => {}
        }
        self.store.abandon();
        // The lock is free before anybody is told that the file is closed.
        drop(self);
        for reply in replies {
            // Somebody who went away need not be told.
            let _ = reply.send(());
        }
    }
}

fn refusal<T>(outcome: Outcome<T>) -> rusqlite::Result<Option<BrokerError>> {
    match outcome {
        Ok(_) => Ok(None),
        Err(Fault::Refused(error)) => Ok(Some(error)),
        Err(Fault::Sqlite(error)) => Err(error),
    }
}
