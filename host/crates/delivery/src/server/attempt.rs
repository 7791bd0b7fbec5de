//! One attempt: from a delivery to the result of its receiver, within its time.

use std::time::Instant;

use tokio_util::sync::CancellationToken;
use wasmpost_msg::{
    Context, Disposition, Message, Publication, Reason, ReceiveError, Receiver, SafeReceiver, chain, counted, within,
};

use super::breaker::Breaker;
use super::keeper::Keeper;
use super::returns::Returns;
use super::settle::{Outcome, settle};
use crate::admission::Admission;
use crate::broker::Queue;
use crate::error::{BrokerError, BrokerErrorKind};
use crate::lease::Delivery;
use crate::outbox::forwarded;
use crate::prove::{Point, pass};
use crate::server::QueueServerOptions;
use crate::timestamp::Timestamp;

/// The parts of a server that all its deliveries share.
pub(super) struct Worker {
    pub(super) queue: String,
    pub(super) source: std::sync::Arc<dyn Queue>,
    pub(super) receiver: SafeReceiver<std::sync::Arc<dyn Receiver>>,
    pub(super) options: QueueServerOptions,
    /// Nothing begins once it is cancelled.
    pub(super) stop: CancellationToken,
    pub(super) keeper: std::sync::Arc<Keeper>,
    pub(super) breaker: std::sync::Arc<Breaker>,
    pub(super) returns: std::sync::Arc<Returns>,
}

impl Worker {
    /// The context of a delivery.
    pub(super) fn context(&self, delivery: &Delivery) -> Context {
        let cancelled = CancellationToken::new();
        Context::of_server(delivery.id.clone(), delivery.deliveries, cancelled, self.stop.clone())
    }

    /// Takes a delivery to its end, keeping its lease meanwhile.
    pub(super) async fn work(&self, delivery: Delivery, context: Context) {
        let renewer = delivery.lease.renewer();
        self.keeper.keep_while(renewer, &context, self.process(delivery, &context)).await;
    }

    async fn process(&self, delivery: Delivery, context: &Context) {
        let started_at = self.options.clock.now();
        let started = Instant::now();
        let result = self.attempt(&delivery, context).await;
        self.finish(delivery, context, result, started_at, started).await;
    }

    /// Settles a delivery by the result of its receiver.
    pub(super) async fn finish(
        &self,
        delivery: Delivery,
        context: &Context,
        result: Result<(), ReceiveError>,
        started_at: Timestamp,
        started: Instant,
    ) {
        let mut outbox = Vec::new();
        let result = result.and_then(|()| {
            outbox = forwarded(&self.queue, &delivery, context.outbox().take());
            if let (true, [only]) = (self.options.keeps_id, &mut *outbox) {
                only.id = Some(delivery.id.clone());
                only.key = delivery.key.clone();
            }
            check(&outbox)
        });
        let published = outbox.len();
        let result = match (result, &self.options.forward) {
            (Ok(()), Some(forward)) => forward.publish(std::mem::take(&mut outbox)).await,
            (result, _) => result.and_then(|()| self.room(&outbox)),
        };
        self.breaker.record(&self.options.receiver, &delivery.id, &result);
        let outcome = Outcome { result, outbox, published, started_at, started, usage: context.usage() };
        settle(self, delivery, outcome).await;
    }

    /// Whether a delivery may be handed over now.
    pub(super) fn check_able(&self, delivery: &Delivery, context: &Context) -> Result<(), ReceiveError> {
        let hops_max = self.options.hops_max;
        if delivery.hops > hops_max {
            let text = format!("message came through {}, the limit is {hops_max}", counted(delivery.hops, "receiver"));
            return Err(ReceiveError::new(Disposition::Reject, Reason::Loop, text));
        }
        // One that waited for its turn when the server stopped does not begin any more.
        if self.stop.is_cancelled() {
            return Err(context.not_begun());
        }
        // Nor does one whose lease was lost while it waited.
        if context.cancelled().is_cancelled() {
            return Err(context.interruption());
        }
        Ok(())
    }

    async fn attempt(&self, delivery: &Delivery, context: &Context) -> Result<(), ReceiveError> {
        self.check_able(delivery, context)?;
        let message = Message {
            attributes: delivery.attributes.clone(),
            body: delivery.body.clone().into(),
            context: context.clone(),
        };
        tokio::select! {
            biased;
            result = self.receive(delivery, message) => result,
            () = context.cancelled().cancelled() => Err(context.interruption()),
        }
    }

    /// Counts the attempt: the receiver is about to get the message.
    pub(super) fn begin(&self, delivery: &Delivery) -> Result<(), ReceiveError> {
        delivery.lease.begin().map_err(|error| not_counted(&error))
    }

    async fn receive(&self, delivery: &Delivery, message: Message) -> Result<(), ReceiveError> {
        let slot = match &self.options.share {
            // A delivery that waits for its tenant when the server stops does not begin any more.
            Some(share) => tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(message.context.not_begun()),
                slot = share.enter() => slot,
            },
            None => None,
        };
        self.begin(delivery)?;
        let timeout = self.options.timeout;
        pass(Point::BeforeGuest);
        let result = within(timeout, self.receiver.receive(message)).await;
        drop(slot);
        if let Some(Ok(())) = result {
            pass(Point::GuestOk);
        }
        result.unwrap_or_else(|| {
            let text = format!("receiver took longer than {timeout:?}");
            Err(ReceiveError::new(Disposition::Retry, Reason::Timeout, text))
        })
    }

    /// Published messages for which the broker has no room wait with the message that they came from, which is not at
    /// fault.
    fn room(&self, outbox: &[Publication]) -> Result<(), ReceiveError> {
        self.source.room(outbox).map_err(|refused| match refused.kind() {
            // No waiting makes it fit.
            BrokerErrorKind::Invalid => ReceiveError::retry(format!("published message refused: {}", chain(&refused))),
            BrokerErrorKind::Limit => {
                let text = format!("published messages have no room: {}", chain(&refused));
                ReceiveError::new(Disposition::Retry, Reason::PublishLimit, text)
            }
            _ => {
                let text = format!("published messages have no room: {}", chain(&refused));
                ReceiveError::new(Disposition::GiveBack, Reason::HostBusy, text)
            }
        })
    }
}

/// Why a receiver is not called: what ends with the process then would begin again and again.
fn not_counted(error: &BrokerError) -> ReceiveError {
    let reason = if error.kind() == BrokerErrorKind::Stale { Reason::LeaseExpired } else { Reason::HostFault };
    ReceiveError::new(Disposition::GiveBack, reason, format!("attempt could not be counted: {}", chain(error)))
}

/// A receiver that published what cannot be published has failed: an ack with half an outbox would lose messages.
fn check(outbox: &[Publication]) -> Result<(), ReceiveError> {
    let admission = Admission::default();
    let fault = outbox.iter().find_map(|publication| admission.check(publication).err());
    fault.map_or(Ok(()), |fault| Err(ReceiveError::retry(format!("published message refused: {}", chain(&fault)))))
}
