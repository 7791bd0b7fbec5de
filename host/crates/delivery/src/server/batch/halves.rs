//! Handing a batch over. When a call fails as a whole, none of its messages has failed: they go again by halves, until the
//! one at fault is alone.

use std::pin::Pin;
use std::task::Poll;

use futures::future::join_all;
use wasmpost_msg::{Disposition, Message, Reason, ReceiveError, Receiver, Usage, within};

use super::work::{Batch, Member};
use crate::prove::{Break, Point, is_broken, pass};

/// The result of each message, or none and the error of the call.
type Results = Result<Vec<Result<(), ReceiveError>>, ReceiveError>;

/// Hands messages over, by halves where that is needed, and settles each.
pub(super) async fn hand_over(batch: &Batch<'_>, members: Vec<Member>) {
    let mut groups = vec![members];
    let mut is_again = false;
    while let Some(group) = groups.pop() {
        let mut group = batch.able(group).await;
        if group.is_empty() {
            continue;
        }
        if is_again && batch.worker.breaker.is_open() {
            // It faults on one message after the other: they come again, one at a time.
            let results = group.iter().map(|_| Err(given_back())).collect();
            batch.settle(group, results).await;
            continue;
        }
        match batch.call(&mut group, is_again).await {
            Err(error) if group.len() > 1 && error.disposition() != Disposition::GiveBack => {
                batch.tell(&error, group.len(), is_again);
                group.iter_mut().for_each(Member::set_back);
                is_again = true;
                let rest = group.split_off(group.len().div_ceil(2));
                groups.extend([rest, group]);
            }
            Err(error) => {
                let results = group.iter().map(|_| Err(error.clone())).collect();
                batch.settle(group, results).await;
            }
            Ok(results) => batch.settle(group, results).await,
        }
    }
}

impl Batch<'_> {
    /// Those that can be handed over. All others are settled.
    async fn able(&self, group: Vec<Member>) -> Vec<Member> {
        let mut able = Vec::with_capacity(group.len());
        let mut unable = Vec::new();
        let mut results = Vec::new();
        for member in group {
            let checked = match member.context.cancelled().is_cancelled() {
                // A message that has begun may go on to its end when the server stops.
                false if member.has_begun => Ok(()),
                _ => self.worker.check_able(&member.delivery, &member.context),
            };
            match checked {
                Ok(()) => able.push(member),
                Err(error) => {
                    results.push(Err(error));
                    unable.push(member);
                }
            }
        }
        self.settle(unable, results).await;
        able
    }

    /// Hands the messages over in one call. Those whose attempt cannot be counted are settled, and left out.
    async fn call(&self, group: &mut Vec<Member>, is_again: bool) -> Results {
        let worker = self.worker;
        let slot = match &worker.options.share {
            Some(share) if is_again => until_cancelled(group, share.enter()).await.flatten(),
            // One that waits for its tenant when the server stops does not begin any more.
            Some(share) => tokio::select! {
                biased;
                () = worker.stop.cancelled() => return not_begun(group),
                slot = share.enter() => slot,
            },
            None => None,
        };
        self.begin(group).await;
        if group.is_empty() {
            return Ok(Vec::new());
        }
        let messages: Vec<_> = group.iter().map(Member::message).collect();
        let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        let timeout = worker.options.timeout.saturating_mul(count);
        pass(Point::BeforeGuest);
        let call = within(timeout, worker.receiver.receive_batch(wasmpost_msg::Batch { messages, is_again }));
        let called = until_cancelled(group, call).await;
        drop(slot);
        let Some(called) = called else {
            return Ok(group.iter().map(|member| Err(member.context.interruption())).collect());
        };
        let mut results = called.unwrap_or_else(|| {
            let text = format!("receiver took longer than {timeout:?}");
            Err(ReceiveError::new(Disposition::Retry, Reason::Timeout, text))
        })?;
        if results.len() != group.len() {
            let text = format!("receiver returned {} results for {} messages", results.len(), group.len());
            return Err(ReceiveError::new(Disposition::Retry, Reason::ResultCount, text));
        }
        if is_broken(Break::ResultsShifted) {
            results.rotate_right(1);
        }
        if results.iter().any(Result::is_ok) {
            pass(Point::GuestOk);
        }
        Ok(results)
    }

    /// Counts the attempt of each message that was not handed over yet.
    async fn begin(&self, group: &mut Vec<Member>) {
        let mut results = Vec::new();
        let mut refused = Vec::new();
        let mut place = 0;
        while let Some(member) = group.get_mut(place) {
            let begun = if member.has_begun { Ok(()) } else { self.worker.begin(&member.delivery) };
            member.has_begun = true;
            match begun {
                Ok(()) => place += 1,
                Err(error) => {
                    results.push(Err(error));
                    refused.push(group.remove(place));
                }
            }
        }
        self.settle(refused, results).await;
    }

    /// Settles each message by its own result, all at once: brokers do it in groups.
    async fn settle(&self, members: Vec<Member>, results: Vec<Result<(), ReceiveError>>) {
        let settled = members.into_iter().zip(results).map(|(member, result)| async move {
            let usage = member.usage();
            let Member { delivery, context, place, hold, .. } = member;
            context.set_usage(usage);
            self.worker.finish(delivery, &context, result, self.started_at, self.started).await;
            self.keeping.end(place);
            drop(hold);
        });
        join_all(settled).await;
    }

    fn tell(&self, error: &ReceiveError, messages: usize, is_again: bool) {
        let worker = self.worker;
        let queue = &worker.queue;
        let receiver = &worker.options.receiver;
        let reason = error.reason();
        let error = error.text();
        if is_again {
            tracing::debug!(%queue, %receiver, messages, %reason, error, "part of a batch failed; handed over by halves");
        } else {
            tracing::warn!(%queue, %receiver, messages, %reason, error, "batch failed; handed over again by halves");
        }
    }
}

impl Member {
    fn message(&self) -> Message {
        Message {
            attributes: self.delivery.attributes.clone(),
            body: self.delivery.body.clone().into(),
            context: self.context.clone(),
        }
    }

    /// Forgets what a call did that failed as a whole, but for the resources that it used.
    fn set_back(&mut self) {
        drop(self.context.outbox().take());
        self.spent = self.usage();
        self.context.set_usage(Usage::default());
    }

    /// The resources that all its calls used.
    fn usage(&self) -> Usage {
        let usage = self.context.usage();
        Usage {
            cpu: usage.cpu + self.spent.cpu,
            wall: usage.wall + self.spent.wall,
            memory_peak_bytes: usage.memory_peak_bytes.max(self.spent.memory_peak_bytes),
            host_work: usage.host_work.saturating_add(self.spent.host_work),
            ..usage
        }
    }
}

/// The output of a future, or none once all messages were cancelled. One that lost its lease does not end the call for
/// the others.
async fn until_cancelled<F: Future>(group: &[Member], future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut cancelled: Option<Pin<Box<dyn Future<Output = Vec<()>> + Send>>> = None;
    std::future::poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        let cancelled = cancelled.get_or_insert_with(|| {
            let all = group.iter().map(|member| member.context.cancelled().clone().cancelled_owned());
            Box::pin(join_all(all.collect::<Vec<_>>()))
        });
        cancelled.as_mut().poll(context).map(|_| None)
    })
    .await
}

fn not_begun(group: &[Member]) -> Results {
    Ok(group.iter().map(|member| Err(member.context.not_begun())).collect())
}

fn given_back() -> ReceiveError {
    let text = "the call had to end, for another message that it had";
    ReceiveError::new(Disposition::GiveBack, Reason::InstanceEnded, text)
}
