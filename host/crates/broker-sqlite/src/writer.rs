//! The writer: the thread that owns the connection. It gathers what waits, runs it in one transaction, commits, and
//! answers.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;
use wasmpost_delivery::prove::{Break, Point, is_broken, pass};
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

/// Why the writer ends.
pub(crate) struct Ending {
    /// What callers are told from now on.
    failure: Failure,
    close: Option<Close>,
}

/// Why a group failed, and whether it did so while it was committed.
struct GroupFailure {
    error: rusqlite::Error,
    committing: bool,
}

impl Writer {
    pub(crate) fn new(
        store: Store,
        channel: Arc<Channel>,
        receiver: Receiver<Command>,
        checkpointer: Checkpointer,
    ) -> Self {
        Self {
            store,
            channel,
            receiver,
            pulls: VecDeque::new(),
            drains: Vec::new(),
            checkpointer,
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
            if let Some(ending) = self.turn(first) {
                return self.end(ending);
            }
        }
    }

    /// Does what there is to do, `first` before all else. Says so if that was the last.
    pub(crate) fn turn(&mut self, first: Option<Command>) -> Option<Ending> {
        let mut requests = Vec::new();
        let close = self.gather(first, &mut requests);
        if let Err(failure) = self.group(requests) {
            tracing::error!(error = %failure.text, "queue file failed; it is not used any more");
            return Some(Ending { failure, close: None });
        }
        let text = format!("queue file {} was closed", self.store.path().display());
        close.map(|close| Ending { failure: Failure { kind: BrokerErrorKind::Closed, text }, close: Some(close) })
    }

    /// Takes what is there, from `next` on.
    fn gather(&mut self, mut next: Option<Command>, requests: &mut Vec<Request>) -> Option<Close> {
        let mut bytes = 0;
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
        if let Some(command) = self.try_next() {
            return Some(command);
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

    /// How long to wait for a command before there is something to do without one.
    pub(crate) fn patience(&mut self) -> Option<Duration> {
        // Pulls that nobody waits for any more would be looked after for nothing.
        self.pulls.retain(|pull| !pull.reply.is_closed());
        let queues: BTreeSet<i64> = self.pulls.iter().map(|pull| pull.queue).collect();
        let next = self.store.next_time(queues.into_iter()).ok().flatten();
        let now = self.channel.now();
        let until_next = next.map(|next| next.since(now).max(Duration::from_millis(1)));
        let until_idle = self.dirty.then_some(IDLE);
        [until_next, until_idle].into_iter().flatten().min()
    }

    /// No command came for so long.
    pub(crate) fn waited(&mut self, patience: Duration) {
        if self.dirty && patience >= IDLE {
            self.tidy(self.channel.now());
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
            Err(failure) => {
                if let Err(last) = self.recover(&failure) {
                    self.refuse_all(requests, &last);
                    return Err(last);
                }
                if failure.error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) {
                    // It was waited for once; those of a group do not wait one after the other.
                    self.refuse_all(requests, &self.store.failure(&failure.error));
                    return Ok(());
                }
            }
        }
        for request in requests {
            let mut alone = vec![request];
            let results = match self.attempt(&mut alone, false) {
                Ok(results) => results,
                Err(failure) => {
                    if let Err(last) = self.recover(&failure) {
                        self.refuse_all(alone, &last);
                        return Err(last);
                    }
                    vec![Some(self.store.failure(&failure.error).into())]
                }
            };
            self.answer(alone, results);
        }
        if let Err(failure) = self.attempt(&mut [], true) {
            self.recover(&failure)?;
            self.refuse_all(Vec::new(), &self.store.failure(&failure.error));
        }
        Ok(())
    }

    /// Tells requests, and all who wait for messages, why they get nothing now.
    fn refuse_all(&mut self, requests: Vec<Request>, failure: &Failure) {
        for request in requests {
            request.work.answer(Err(failure.clone().into()));
        }
        for pull in self.pulls.drain(..) {
            drop(pull.reply.send(Err(failure.clone().into())));
        }
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
        self.store.begin_at(now).map_err(running)?;
        let mut results = Vec::with_capacity(requests.len());
        for request in requests.iter_mut() {
            results.push(refusal(request.work.run(&mut self.store)).map_err(running)?);
        }
        let served = if serve { self.serve().map_err(running)? } else { Vec::new() };
        let (has_changed, has_acks) = (self.store.rows_changed() > before, self.store.has_acks());
        if is_broken(Break::AckBeforeCommit) {
            requests.iter_mut().zip(&mut results).for_each(|(request, result)| request.answer_early(result.take()));
        }
        pass_those([(has_changed, Point::Committing), (has_acks, Point::AckCommitting)]);
        if let Err(failure) = self.commit(now, has_changed) {
            self.wait_again(served);
            return Err(failure);
        }
        pass_those([(has_changed, Point::Committed), (has_acks, Point::AckCommitted)]);
        pass_those([(!served.is_empty(), Point::LeaseCommitted)]);
        if has_changed {
            self.channel.count_commit();
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

    fn commit(&mut self, now: Timestamp, has_changed: bool) -> Result<(), GroupFailure> {
        if has_changed && now.since(self.time_kept) >= TIME_KEPT_EVERY {
            self.store.keep_time(now).map_err(|error| GroupFailure { error, committing: false })?;
            self.time_kept = now;
        }
        let committing = |error| GroupFailure { error, committing: true };
        self.store.commit().map_err(committing)?;
        if has_changed { self.store.check_place().map_err(committing) } else { Ok(()) }
    }

    /// Those for whom messages were leased in vain wait on, before those who came after them.
    fn wait_again(&mut self, served: Vec<(Pull, Vec<Delivery>)>) {
        // It ends the leases, so that none is given back as the deliveries are dropped.
        self.store.roll_back();
        served.into_iter().for_each(|(pull, _)| self.pulls.push_front(pull));
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
                Err(Fault::Sqlite(error)) => {
                    // Before the deliveries that were leased until then are dropped.
                    self.store.roll_back();
                    return Err(error);
                }
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

    #[cfg(feature = "prove")]
    pub(crate) fn copy_log(&self) {
        drop(self.store.connection().query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())));
    }

    #[cfg(feature = "prove")]
    pub(crate) fn is_synchronous(&self) -> bool {
        let level = self.store.connection().pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0));
        level.is_ok_and(|level| level >= 2)
    }

    /// Takes no more calls, and answers those that wait by dropping them.
    pub(crate) fn end(mut self, Ending { failure, close }: Ending) {
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

fn pass_those<const COUNT: usize>(points: [(bool, Point); COUNT]) {
    points.into_iter().filter(|(is_passed, _)| *is_passed).for_each(|(_, point)| pass(point));
}

fn refusal<T>(outcome: Outcome<T>) -> rusqlite::Result<Option<BrokerError>> {
    match outcome {
        Ok(_) => Ok(None),
        Err(Fault::Refused(error)) => Ok(Some(error)),
        Err(Fault::Sqlite(error)) => Err(error),
    }
}
