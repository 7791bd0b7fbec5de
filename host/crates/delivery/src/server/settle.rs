//! Settling: the verdict on an attempt, carried out and logged.

use std::time::{Duration, Instant};

use wasmpost_msg::{Publication, Reason, ReceiveError, Usage, chain};

use super::attempt::Worker;
use crate::dead_letter::{Attempt, AttemptVerdict, Evidence};
use crate::error::BrokerError;
use crate::lease::{Delivery, Nack};
use crate::observer::Settled;
use crate::retry::Verdict;
use crate::share::Ending;
use crate::timestamp::Timestamp;

/// The longest error text in evidence, in bytes.
const ERROR_BYTES_MAX: usize = 4096;
/// The longest error text in the record of an attempt, in bytes.
const ATTEMPT_ERROR_BYTES_MAX: usize = 256;
/// After how many returns of a message each further one is a warning.
const RETURNS_WARNED: u32 = 4;
/// The longest backtrace in evidence, in bytes.
const BACKTRACE_BYTES_MAX: usize = 16 * 1024;

/// The outcome of an attempt.
pub(super) struct Outcome {
    pub(super) result: Result<(), ReceiveError>,
    /// The messages to publish with the ack.
    pub(super) outbox: Vec<Publication>,
    /// How many messages the receiver published, those that were forwarded already included.
    pub(super) published: usize,
    pub(super) started_at: Timestamp,
    pub(super) started: Instant,
    pub(super) usage: Usage,
}

/// Decides what becomes of the delivery and does it.
pub(super) async fn settle(worker: &Worker, delivery: Delivery, outcome: Outcome) {
    let returns = worker.returns.of(&delivery.id);
    let verdict = worker.options.retry.verdict(delivery.failures, returns, &outcome.result, fastrand::f64());
    match (verdict, &outcome.result) {
        // That the host stopped says nothing, and a lease that lapsed counts as a failure at its broker.
        (Verdict::Nack { counted: false, .. }, Err(error)) => {
            if !matches!(error.reason(), Reason::Shutdown | Reason::LeaseExpired) {
                worker.returns.count(&delivery.id);
            }
        }
        _ => worker.returns.forget(&delivery.id),
    }
    let number = delivery.deliveries;
    if let Some(share) = &worker.options.share {
        share.record(ending(verdict), &outcome.usage, outcome.published);
    }
    // Shown once it is settled, when the broker has taken it.
    let wanting = worker.options.observer.as_ref().filter(|observer| observer.wants_published());
    let published = wanting.map(|_| outcome.outbox.clone()).unwrap_or_default();
    let published_messages = outcome.published;
    let settled = match (verdict, &outcome.result) {
        (Verdict::Nack { delay, counted }, Err(error)) => {
            if counted {
                log_failed(worker, &delivery, error, &outcome.usage, delay);
            } else {
                log_given_back(worker, &delivery, error, delay, returns);
            }
            let attempt = counted.then(|| outcome.attempt(number, error, AttemptVerdict::Nack, Some(delay)));
            delivery.lease.nack(Nack { delay, attempt }).await
        }
        (Verdict::DeadLetter { reason }, Err(error)) => {
            let queue = &worker.queue;
            let receiver = &worker.options.receiver;
            let id = &delivery.id;
            let Usage { cpu, wall, memory_peak_bytes, published_bytes, .. } = &outcome.usage;
            let error_text = error.text();
            tracing::warn!(
                %queue, %receiver, %id, attempt = number, %reason, error = error_text, ?cpu, ?wall, memory_peak_bytes,
                published_bytes, "dead-lettered"
            );
            let attempt = outcome.attempt(number, error, AttemptVerdict::Reject, None);
            delivery.lease.reject(evidence(worker, &outcome.usage, reason, error, attempt)).await
        }
        // Ok has no other verdict than ack.
        (_, _) => {
            let queue = &worker.queue;
            let id = &delivery.id;
            let published = outcome.published;
            let Usage { cpu, wall, memory_peak_bytes, published_bytes, .. } = &outcome.usage;
            let acked = delivery.lease.ack(outcome.outbox).await;
            if acked.is_ok() {
                tracing::debug!(
                    %queue, %id, attempt = number, published, published_bytes, ?cpu, ?wall, memory_peak_bytes, "acked"
                );
            }
            acked
        }
    };
    if let Err(error) = settled {
        log_unsettled(worker, &delivery.id, &error);
    } else if let Some(observer) = &worker.options.observer {
        observer.settled(&Settled {
            queue: &worker.queue,
            receiver: &worker.options.receiver,
            id: &delivery.id,
            attempt: number,
            verdict,
            error: outcome.result.as_ref().err(),
            published: &published,
            published_messages,
            took: outcome.started.elapsed(),
            usage: &outcome.usage,
        });
    }
}

impl Outcome {
    fn attempt(&self, number: u32, error: &ReceiveError, verdict: AttemptVerdict, delay: Option<Duration>) -> Attempt {
        Attempt {
            number,
            started_at: self.started_at,
            duration: self.started.elapsed(),
            verdict,
            delay,
            reason: error.reason(),
            error: truncated(error.text(), ATTEMPT_ERROR_BYTES_MAX),
        }
    }
}

fn evidence(worker: &Worker, usage: &Usage, reason: Reason, error: &ReceiveError, attempt: Attempt) -> Evidence {
    let component = usage.component.as_deref();
    Evidence {
        backtrace: error.backtrace().map(|backtrace| truncated(backtrace, BACKTRACE_BYTES_MAX)),
        receiver: Some(worker.options.receiver.clone()),
        component: component.map(|component| component.digest.clone()),
        component_version: component.and_then(|component| component.version.clone()),
        cpu: usage.cpu,
        wall: usage.wall,
        memory_peak_bytes: usage.memory_peak_bytes,
        published_bytes: usage.published_bytes,
        attempt: Some(attempt),
        ..Evidence::by_host(reason, truncated(error.text(), ERROR_BYTES_MAX))
    }
}

fn ending(verdict: Verdict) -> Ending {
    match verdict {
        Verdict::Ack => Ending::Acked,
        Verdict::Nack { counted: true, .. } => Ending::Failed,
        Verdict::Nack { counted: false, .. } => Ending::GivenBack,
        Verdict::DeadLetter { .. } => Ending::Dead,
    }
}

fn log_failed(worker: &Worker, delivery: &Delivery, error: &ReceiveError, usage: &Usage, delay: Duration) {
    let queue = &worker.queue;
    let receiver = &worker.options.receiver;
    let id = &delivery.id;
    let attempt = delivery.deliveries;
    let reason = error.reason();
    let error = error.text();
    let Usage { cpu, wall, memory_peak_bytes, published_bytes, .. } = usage;
    tracing::warn!(
        %queue, %receiver, %id, attempt, %reason, error, ?delay, ?cpu, ?wall, memory_peak_bytes, published_bytes,
        "failed; will be redelivered"
    );
}

fn log_given_back(worker: &Worker, delivery: &Delivery, error: &ReceiveError, delay: Duration, returns: u32) {
    let queue = &worker.queue;
    let receiver = &worker.options.receiver;
    let id = &delivery.id;
    let attempt = delivery.deliveries;
    let reason = error.reason();
    let error = error.text();
    let returns = returns + 1;
    if returns >= RETURNS_WARNED {
        tracing::warn!(%queue, %receiver, %id, attempt, %reason, error, ?delay, returns, "given back uncounted again");
    } else {
        tracing::info!(%queue, %receiver, %id, attempt, %reason, error, ?delay, "given back uncounted");
    }
}

fn log_unsettled(worker: &Worker, id: &str, error: &BrokerError) {
    tracing::error!(queue = %worker.queue, %id, error = %chain(error), "not settled; will be redelivered");
}

/// The text, cut at a character when it is longer than `max` bytes.
fn truncated(text: &str, max: usize) -> String {
    text.get(..text.floor_char_boundary(max)).unwrap_or(text).to_owned()
}
