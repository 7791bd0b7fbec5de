//! Leases as their holders see them. They do not lapse: they end with the channel that brought them.

use std::sync::Arc;

use async_trait::async_trait;
use wasmpost_delivery::{BrokerError, Delivery, Evidence, Lease, Nack, Renewer};
use wasmpost_msg::Publication;

use crate::arrival::Incoming;
use crate::envelope::Envelope;
use crate::feed::Feed;
use crate::hold::Hold;
use crate::session::Session;

pub(crate) struct RabbitLease {
    feed: Arc<Feed>,
    hold: Hold,
    envelope: Envelope,
    returns: u32,
}

struct RabbitRenewer {
    session: Arc<Session>,
    queue: String,
    id: String,
}

/// The delivery of what came.
pub(crate) fn delivery(feed: &Arc<Feed>, incoming: Incoming) -> Delivery {
    let Incoming { hold, envelope, returns } = incoming;
    let head = &envelope.head;
    Delivery {
        id: head.id.clone(),
        topic: head.topic.clone(),
        attributes: envelope.attributes(),
        body: envelope.body.clone(),
        deliveries: head.deliveries + returns + 1,
        failures: head.failures,
        hops: head.hops,
        key: head.key.clone(),
        published_at: head.published_at,
        lease: Box::new(RabbitLease { feed: Arc::clone(feed), hold, envelope, returns }),
    }
}

impl RabbitLease {
    fn check(&self) -> Result<(), BrokerError> {
        self.feed.hub().link.check()?;
        match self.hold.is_alive() {
            true => Ok(()),
            false => Err(BrokerError::stale(self.feed.queue(), &self.envelope.head.id)),
        }
    }

    /// The message as it goes on, with this delivery counted.
    fn counted(&self) -> Envelope {
        let mut envelope = self.envelope.clone();
        envelope.head.deliveries += self.returns + 1;
        envelope.head.due = None;
        envelope
    }

    /// Once a copy is stored, the delivery itself has ended; what was not stored stays here.
    async fn settle(self, stored: Result<(), BrokerError>) -> Result<(), BrokerError> {
        match stored {
            Ok(()) => self.hold.ack().await,
            Err(error) => {
                self.hold.requeue_later();
                Err(error)
            }
        }
    }
}

#[async_trait]
impl Lease for RabbitLease {
    fn renewer(&self) -> Arc<dyn Renewer> {
        let queue = self.feed.queue().to_owned();
        let id = self.envelope.head.id.clone();
        Arc::new(RabbitRenewer { session: Arc::clone(self.hold.session()), queue, id })
    }

    async fn ack(self: Box<Self>, outbox: Vec<Publication>) -> Result<(), BrokerError> {
        self.check()?;
        if !outbox.is_empty() {
            let hub = Arc::clone(self.feed.hub());
            let published = match hub.admit(outbox) {
                Ok(envelopes) => hub.publish(&envelopes).await,
                Err(error) => Err(error),
            };
            if published.is_err() {
                return self.settle(published).await;
            }
        }
        let feed = Arc::clone(&self.feed);
        self.settle(Ok(())).await?;
        feed.tally().lock().acked += 1;
        Ok(())
    }

    async fn nack(self: Box<Self>, nack: Nack) -> Result<(), BrokerError> {
        self.check()?;
        let Nack { delay, attempt } = nack;
        // The broker counts what comes back for a crash. Once is no harm, and spares a copy.
        if delay.is_zero() && attempt.is_none() && self.returns == 0 {
            return self.hold.requeue().await;
        }
        let mut envelope = self.counted();
        if let Some(attempt) = attempt {
            envelope.head.failures += 1;
            envelope.record(attempt);
        }
        let hub = Arc::clone(self.feed.hub());
        envelope.head.due = (!delay.is_zero()).then(|| hub.now().after(delay));
        let stored = hub.put_off(self.feed.queue(), &envelope).await;
        self.settle(stored).await
    }

    async fn reject(self: Box<Self>, evidence: Evidence) -> Result<(), BrokerError> {
        self.check()?;
        let stored = self.feed.hub().bury(self.feed.queue(), self.counted(), evidence).await;
        self.settle(stored).await
    }
}

#[async_trait]
impl Renewer for RabbitRenewer {
    async fn renew(&self) -> Result<(), BrokerError> {
        if self.session.is_alive() { Ok(()) } else { Err(BrokerError::stale(&self.queue, &self.id)) }
    }
}
