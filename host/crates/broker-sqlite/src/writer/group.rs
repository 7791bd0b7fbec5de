//! A group: the operations that run in one transaction and are answered after its commit.

use std::time::Duration;

use wasmpost_delivery::prove::{Break, Point, is_broken, pass};
use wasmpost_delivery::{BrokerError, Timestamp};

use super::Writer;
use crate::acks::Ack;
use crate::channel::{Flush, Request};
use crate::error::{During, Failure, Fault, Outcome, is_fatal, is_passing};
use crate::job::Job;

/// How often the time is stored while there is work.
const TIME_KEPT_EVERY: Duration = Duration::from_secs(1);

/// The place of a group in the life of the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    /// Others may follow.
    Usual,
    /// The file is closed in order after it.
    Last,
}

/// The failure of a group, and the part of it in which it came.
struct GroupFailure {
    error: rusqlite::Error,
    during: During,
}

/// The errors of refused requests, and of a refused job, of a group.
struct Results {
    of_requests: Vec<Option<BrokerError>>,
    of_job: Option<BrokerError>,
}

impl Writer {
    /// Runs everything in one transaction. If that fails, each operation gets one of its own, so that an impossible one
    /// fails alone. An error ends the writer.
    ///
    /// Acknowledgements are added if anything is to be committed anyway, if they were gathered for long enough, or if
    /// this group is the last. Pulls that wait are served after it.
    pub(super) fn group(&mut self, requests: Vec<Request>, round: Round) -> Result<(), Failure> {
        let mut job = self.next_job();
        let now = self.channel.now();
        let has_to_flush = self.flushes.wait().is_some_and(|wait| wait.is_zero()) || round == Round::Last;
        let has_to_write = !requests.is_empty() || job.is_some() || has_to_flush || self.store.has_to_write(now);
        let acks_are_due = self.channel.acks().wait().is_some_and(|wait| wait.is_zero());
        let acks = match round {
            Round::Last => self.channel.acks().take_last(),
            Round::Usual if has_to_write || acks_are_due => self.channel.acks().take(),
            Round::Usual => Vec::new(),
        };
        if has_to_write || !acks.is_empty() {
            self.write(requests, acks, job.take())?;
        }
        self.answer_drains();
        self.serve(self.channel.now())
    }

    fn write(&mut self, mut requests: Vec<Request>, acks: Vec<Ack>, mut job: Option<Job>) -> Result<(), Failure> {
        match self.attempt(&mut requests, &acks, job.as_mut(), true) {
            Ok(results) => {
                self.answer(requests, results.of_requests);
                self.go_on(job, results.of_job);
                return Ok(());
            }
            Err(failure) => {
                if let Err(last) = self.recover(&failure) {
                    self.refuse_all(requests, &acks, job, &last);
                    return Err(last);
                }
                if failure.error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) {
                    // The first operation waited for it already; the others of the group do not wait again.
                    let refused = self.store.failure(&failure.error);
                    self.keep_acks(acks, &refused);
                    self.refuse_all(requests, &[], job, &refused);
                    return Ok(());
                }
            }
        }
        for request in requests {
            let mut alone = vec![request];
            let results = match self.attempt(&mut alone, &[], None, false) {
                Ok(results) => results.of_requests,
                Err(failure) => {
                    if let Err(last) = self.recover(&failure) {
                        self.refuse_all(alone, &acks, job, &last);
                        return Err(last);
                    }
                    vec![Some(self.store.failure(&failure.error).into())]
                }
            };
            self.answer(alone, results);
        }
        self.write_acks(acks)?;
        if job.is_some() {
            let refused = match self.attempt(&mut [], &[], job.as_mut(), false) {
                Ok(results) => results.of_job,
                Err(failure) => {
                    if let Err(last) = self.recover(&failure) {
                        self.refuse_all(Vec::new(), &[], job, &last);
                        return Err(last);
                    }
                    Some(self.store.failure(&failure.error).into())
                }
            };
            self.go_on(job, refused);
        }
        if let Err(failure) = self.attempt(&mut [], &[], None, true) {
            self.recover(&failure)?;
            let refused = self.store.failure(&failure.error);
            self.refuse_all(Vec::new(), &[], None, &refused);
        }
        Ok(())
    }

    /// Stores acknowledgements after a failed group: all of them later if the cause may pass, or else one by one.
    fn write_acks(&mut self, acks: Vec<Ack>) -> Result<(), Failure> {
        let Err(failure) = self.attempt(&mut [], &acks, None, false) else { return Ok(()) };
        self.recover_acks(&failure, &acks)?;
        if is_passing(&failure.error) {
            self.keep_acks(acks, &self.store.failure(&failure.error));
            return Ok(());
        }
        let mut left = acks.as_slice();
        while let Some((ack, others)) = left.split_first() {
            if let Err(failure) = self.attempt(&mut [], std::slice::from_ref(ack), None, false) {
                self.recover_acks(&failure, left)?;
                ack.refused(&self.store.failure(&failure.error).into());
            }
            left = others;
        }
        Ok(())
    }

    /// The same as `recover`, but logs acknowledgements as not stored if the file is not used any more.
    fn recover_acks(&mut self, failure: &GroupFailure, acks: &[Ack]) -> Result<(), Failure> {
        self.recover(failure).inspect_err(|last| acks.iter().for_each(|ack| ack.refused(&last.clone().into())))
    }

    /// Keeps acknowledgements to be stored later: they were answered, and their messages must not be delivered again.
    fn keep_acks(&self, acks: Vec<Ack>, failure: &Failure) {
        let count = acks.len();
        match self.channel.acks().keep(acks) {
            Ok(()) if count == 0 => {}
            Ok(()) => {
                tracing::error!(count, error = %failure.text, "acks could not be stored; they are kept and stored later")
            }
            Err(acks) => acks.iter().for_each(|ack| ack.refused(&failure.clone().into())),
        }
    }

    /// Answers requests, a job, and all pulls that wait, with a failure.
    fn refuse_all(&mut self, requests: Vec<Request>, acks: &[Ack], job: Option<Job>, failure: &Failure) {
        acks.iter().for_each(|ack| ack.refused(&failure.clone().into()));
        for request in requests {
            request.work.answer(Err(failure.clone().into()));
        }
        if let Some(job) = job {
            job.answer(Err(failure.clone().into()));
        }
        for pull in self.pulls.drain(..) {
            drop(pull.reply.send(Err(failure.clone().into())));
        }
    }

    /// The job whose turn it is. Jobs whose callers are gone are dropped.
    fn next_job(&mut self) -> Option<Job> {
        self.jobs.retain(Job::is_wanted);
        if !self.jobs.is_empty() && !self.checkpointer.keeps_up() {
            self.checkpointer.look(self.store.connection());
        }
        self.jobs.pop_front_if(|_| self.checkpointer.keeps_up())
    }

    /// Goes on after a step of a job was committed or refused.
    fn go_on(&mut self, job: Option<Job>, refused: Option<BrokerError>) {
        let Some(mut job) = job else { return };
        match refused {
            Some(refused) => job.answer(Err(refused)),
            None if job.committed() => self.jobs.push_back(job),
            None => job.answer(Ok(())),
        }
    }

    fn recover(&mut self, failure: &GroupFailure) -> Result<(), Failure> {
        self.store.roll_back();
        self.flushes.failed();
        if is_fatal(&failure.error, failure.during) {
            return Err(self.store.failure(&failure.error).last());
        }
        Ok(())
    }

    /// Runs one transaction.
    fn attempt(
        &mut self,
        requests: &mut [Request],
        acks: &[Ack],
        job: Option<&mut Job>,
        is_timely: bool,
    ) -> Result<Results, GroupFailure> {
        let running = |error| GroupFailure { error, during: During::Work };
        let now = self.channel.now();
        let before = self.store.rows_changed();
        let can_wait = !requests.is_empty() && requests.iter().all(|request| request.flush == Flush::Soon);
        let wanted = if can_wait && job.is_none() { Flush::Soon } else { Flush::Now };
        let flush = self.flushes.begin(self.store.connection(), wanted).map_err(running)?;
        self.store.begin_at(now).map_err(running)?;
        for (place, refused) in self.store.ack_all(acks.iter().map(|ack| ack.hold.token)).map_err(running)? {
            acks.iter().skip(place).take(1).for_each(|ack| ack.refused(&refused));
        }
        let mut results = Vec::with_capacity(requests.len());
        for request in requests.iter_mut() {
            results.push(refusal(request.work.run(&mut self.store)).map_err(running)?);
        }
        let of_job = job.map(|job| refusal(job.step(&mut self.store))).transpose().map_err(running)?.flatten();
        if is_timely {
            self.end_what_is_over().map_err(running)?;
        }
        if flush == Flush::Now && self.flushes.is_behind() {
            // The disk gets earlier commits with the next page that is written.
            self.store.keep_time(now).map_err(running)?;
        }
        let has_changed = self.store.rows_changed() > before;
        let has_acks = self.store.has_acks();
        if is_broken(Break::AckBeforeCommit) {
            requests.iter_mut().zip(&mut results).for_each(|(request, result)| request.answer_early(result.take()));
        }
        pass_those([(has_changed, Point::Committing), (has_acks, Point::AckCommitting)]);
        self.commit(now, has_changed)?;
        pass_those([(has_changed, Point::Committed), (has_acks, Point::AckCommitted)]);
        if has_changed {
            self.flushes.committed(flush);
            self.channel.count_commit();
            let bytes = requests.iter().map(|request| request.bytes).sum();
            self.checkpointer.committed(self.store.connection(), bytes);
            self.dirty = true;
        }
        Ok(Results { of_requests: results, of_job })
    }

    fn commit(&mut self, now: Timestamp, has_changed: bool) -> Result<(), GroupFailure> {
        if has_changed && now.since(self.time_kept) >= TIME_KEPT_EVERY {
            self.store.keep_time(now).map_err(|error| GroupFailure { error, during: During::Work })?;
            self.time_kept = now;
        }
        let committing = |error| GroupFailure { error, during: During::Commit };
        self.store.commit().map_err(committing)?;
        if has_changed { self.store.check_place().map_err(committing) } else { Ok(()) }
    }

    /// Lets leases lapse and messages expire, and ends messages that cannot be delivered.
    fn end_what_is_over(&mut self) -> rusqlite::Result<()> {
        refusal(self.store.end_over())?;
        refusal(self.store.lapse())?;
        refusal(self.store.expire_all()).map(drop)
    }

    /// Leases due messages for the pulls that wait, in their order, and reads ahead. Nothing is written for it.
    fn serve(&mut self, now: Timestamp) -> Result<(), Failure> {
        self.store.set_now(now);
        let mut waiting = std::mem::take(&mut self.pulls);
        while let Some(pull) = waiting.pop_front() {
            if pull.reply.is_closed() {
                continue;
            }
            match self.store.lease(pull.queue, pull.max, pull.lasts) {
                Ok(deliveries) if deliveries.is_empty() => self.pulls.push_back(pull),
                // Deliveries for a caller that is gone give their leases back when they are dropped.
                Ok(deliveries) => drop(pull.reply.send(Ok(deliveries))),
                Err(error) => {
                    self.pulls.push_back(pull);
                    self.pulls.append(&mut waiting);
                    return self.not_served(&error);
                }
            }
        }
        match self.store.look_ahead() {
            Ok(()) => Ok(()),
            Err(error) => self.not_served(&error),
        }
    }

    /// Answers pulls that wait with a failure.
    fn not_served(&mut self, error: &rusqlite::Error) -> Result<(), Failure> {
        let failure = self.store.failure(error);
        self.refuse_all(Vec::new(), &[], None, &failure);
        if is_fatal(error, During::Work) { Err(failure.last()) } else { Ok(()) }
    }

    fn answer(&mut self, requests: Vec<Request>, results: Vec<Option<BrokerError>>) {
        for (request, refused) in requests.into_iter().zip(results) {
            request.work.answer(refused.map_or(Ok(()), Err));
        }
    }

    /// If this fails, commits stay valid: only pulls that wait are answered with the error.
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
