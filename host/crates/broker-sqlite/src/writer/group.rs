//! A group: what is run in one transaction and answered after its commit.

use std::time::Duration;

use wasmpost_delivery::prove::{Break, Point, is_broken, pass};
use wasmpost_delivery::{BrokerError, Delivery, Timestamp};

use super::Writer;
use crate::channel::{Pull, Request};
use crate::error::{Failure, Fault, Outcome, is_fatal};
use crate::job::Job;

/// How often the time is stored while there is work.
const TIME_KEPT_EVERY: Duration = Duration::from_secs(1);

/// Why a group failed, and whether it did so while it was committed.
struct GroupFailure {
    error: rusqlite::Error,
    committing: bool,
}

/// Why requests and the job of a group were refused, where they were.
struct Results {
    of_requests: Vec<Option<BrokerError>>,
    of_job: Option<BrokerError>,
}

impl Writer {
    /// Runs everything in one transaction. If that fails, each operation gets one of its own, so that what cannot be
    /// done fails alone. An error ends the writer.
    pub(super) fn group(&mut self, mut requests: Vec<Request>) -> Result<(), Failure> {
        let mut job = self.next_job();
        match self.attempt(&mut requests, job.as_mut(), true) {
            Ok(results) => {
                self.answer(requests, results.of_requests);
                self.go_on(job, results.of_job);
                return Ok(());
            }
            Err(failure) => {
                if let Err(last) = self.recover(&failure) {
                    self.refuse_all(requests, job, &last);
                    return Err(last);
                }
                if failure.error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) {
                    // It was waited for once; those of a group do not wait one after the other.
                    let refused = self.store.failure(&failure.error);
                    self.refuse_all(requests, job, &refused);
                    return Ok(());
                }
            }
        }
        for request in requests {
            let mut alone = vec![request];
            let results = match self.attempt(&mut alone, None, false) {
                Ok(results) => results.of_requests,
                Err(failure) => {
                    if let Err(last) = self.recover(&failure) {
                        self.refuse_all(alone, job, &last);
                        return Err(last);
                    }
                    vec![Some(self.store.failure(&failure.error).into())]
                }
            };
            self.answer(alone, results);
        }
        if job.is_some() {
            let refused = match self.attempt(&mut [], job.as_mut(), false) {
                Ok(results) => results.of_job,
                Err(failure) => {
                    if let Err(last) = self.recover(&failure) {
                        self.refuse_all(Vec::new(), job, &last);
                        return Err(last);
                    }
                    Some(self.store.failure(&failure.error).into())
                }
            };
            self.go_on(job, refused);
        }
        if let Err(failure) = self.attempt(&mut [], None, true) {
            self.recover(&failure)?;
            let refused = self.store.failure(&failure.error);
            self.refuse_all(Vec::new(), None, &refused);
        }
        Ok(())
    }

    /// Tells requests, a job, and all who wait for messages, why they get nothing now.
    fn refuse_all(&mut self, requests: Vec<Request>, job: Option<Job>, failure: &Failure) {
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

    /// The job whose turn it is. What nobody waits for any more goes no further.
    fn next_job(&mut self) -> Option<Job> {
        self.jobs.retain(Job::is_wanted);
        if !self.jobs.is_empty() && !self.checkpointer.keeps_up() {
            self.checkpointer.look(self.store.connection());
        }
        self.jobs.pop_front_if(|_| self.checkpointer.keeps_up())
    }

    /// A step of a job was committed, or refused.
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
        if is_fatal(&failure.error, failure.committing) {
            return Err(self.store.failure(&failure.error).last());
        }
        Ok(())
    }

    /// One transaction.
    fn attempt(
        &mut self,
        requests: &mut [Request],
        job: Option<&mut Job>,
        serve: bool,
    ) -> Result<Results, GroupFailure> {
        let running = |error| GroupFailure { error, committing: false };
        let now = self.channel.now();
        let before = self.store.rows_changed();
        self.store.begin_at(now).map_err(running)?;
        let mut results = Vec::with_capacity(requests.len());
        for request in requests.iter_mut() {
            results.push(refusal(request.work.run(&mut self.store)).map_err(running)?);
        }
        let of_job = job.map(|job| refusal(job.step(&mut self.store))).transpose().map_err(running)?.flatten();
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
        Ok(Results { of_requests: results, of_job })
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
