//! One delivery while it is leased, and how it is settled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::Subject;
use async_nats::jetstream::AckKind;
use bytes::Bytes;
use parking_lot::Mutex;
use wasmpost_delivery::{BrokerError, DeadLetter, Evidence, Nack, Timestamp};
use wasmpost_msg::Publication;

use crate::dead_letters;
use crate::envelope::Envelope;
use crate::error::in_time;
use crate::link::Link;
use crate::record::Record;

/// After how long a message comes again whose outbox could not be published.
const UNPUBLISHED_DELAY: Duration = Duration::from_secs(1);

/// The lease of one delivery. The server's own lease lasts longer: who holds this one past its time settles nothing, so
/// that no settlement meets a later delivery.
pub(crate) struct Hold {
    pub(crate) link: Arc<Link>,
    pub(crate) queue: Arc<str>,
    /// The number by which the link knows it.
    pub(crate) number: u64,
    /// Where the server hears of it.
    pub(crate) reply: Subject,
    pub(crate) sequence: u64,
    /// The number of the delivery, as the server counts.
    pub(crate) raw: u32,
    /// The same, as receivers count.
    pub(crate) deliveries: u32,
    pub(crate) record: Record,
    pub(crate) envelope: Envelope,
    pub(crate) body: Bytes,
    pub(crate) published_at: Timestamp,
    pub(crate) lasts: Duration,
    phase: Mutex<Phase>,
}

/// The state of a lease. The first transition wins.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Until this time.
    Live(Instant),
    /// The holder gave it up, and the server is being told.
    Settling,
    Ended,
}

/// The parts of a hold that its delivery is told by.
pub(crate) struct Told {
    /// The time at which it came: the lease begins then.
    pub(crate) arrived: Instant,
    pub(crate) reply: Subject,
    pub(crate) sequence: u64,
    pub(crate) raw: u32,
    pub(crate) deliveries: u32,
    pub(crate) record: Record,
    pub(crate) envelope: Envelope,
    pub(crate) body: Bytes,
    pub(crate) published_at: Timestamp,
}

impl Hold {
    pub(crate) fn new(link: &Arc<Link>, queue: &Arc<str>, lasts: Duration, told: Told) -> Arc<Self> {
        let Told { arrived, reply, sequence, raw, deliveries, record, envelope, body, published_at } = told;
        link.remember(|number| {
            Arc::new(Self {
                link: Arc::clone(link),
                queue: Arc::clone(queue),
                number,
                reply,
                sequence,
                raw,
                deliveries,
                record,
                envelope,
                body,
                published_at,
                lasts,
                phase: Mutex::new(Phase::Live(arrived + lasts)),
            })
        })
    }

    pub(crate) fn stale(&self) -> BrokerError {
        BrokerError::stale(&self.queue, &self.envelope.id)
    }

    /// Takes the right to settle, if it has not lapsed.
    pub(crate) fn settle(&self) -> Result<(), BrokerError> {
        let mut phase = self.phase.lock();
        match *phase {
            Phase::Live(deadline) if Instant::now() < deadline => *phase = Phase::Settling,
            _ => return Err(self.stale()),
        }
        Ok(())
    }

    pub(crate) fn end(&self) {
        *self.phase.lock() = Phase::Ended;
        self.link.forget(self.number);
    }

    /// Prolongs the lease on the server, then here.
    pub(crate) async fn renew(&self) -> Result<(), BrokerError> {
        let from = Instant::now();
        match *self.phase.lock() {
            Phase::Live(deadline) if from < deadline => {}
            Phase::Settling => {}
            _ => return Err(self.stale()),
        }
        self.tell(AckKind::Progress).await?;
        let mut phase = self.phase.lock();
        if let Phase::Live(deadline) = *phase {
            // An answer that came too late renewed what may have been delivered to another.
            if Instant::now() >= deadline {
                return Err(self.stale());
            }
            *phase = Phase::Live(from + self.lasts);
        }
        Ok(())
    }

    pub(crate) async fn ack(&self, outbox: Vec<Publication>) -> Result<(), BrokerError> {
        if !outbox.is_empty()
            && let Err(error) = self.link.publish_to_topics(outbox).await
        {
            // The receiver is not at fault. If this fails as well, the lease lapses.
            drop(self.put_back(Nack { delay: UNPUBLISHED_DELAY, attempt: None }).await);
            return Err(error);
        }
        self.tell(AckKind::Ack).await?;
        self.forget_attempts().await;
        Ok(())
    }

    /// Tells why the message comes again, then that it does: a crash in between counts nothing twice.
    pub(crate) async fn put_back(&self, nack: Nack) -> Result<(), BrokerError> {
        let mut record = self.record.clone();
        record.seen = self.raw;
        if let Some(attempt) = nack.attempt {
            record.failed(attempt);
        }
        record.write(&self.link, &self.queue, self.sequence).await?;
        self.tell(AckKind::Nak(Some(nack.delay).filter(|delay| !delay.is_zero()))).await
    }

    /// Stores the dead letter, then ends the message. If the first fails, the message stays.
    pub(crate) async fn bury(&self, evidence: Evidence) -> Result<(), BrokerError> {
        let mut attempts = self.record.attempts.clone();
        if let Some(attempt) = evidence.attempt.clone() {
            attempt.add_to(&mut attempts);
        }
        let letter = DeadLetter {
            id: self.envelope.id.clone(),
            queue: self.queue.to_string(),
            topic: self.envelope.topic.clone(),
            attributes: self.envelope.attributes.clone(),
            body: self.body.clone(),
            key: self.envelope.key.clone(),
            hops: self.envelope.hops,
            deliveries: self.deliveries,
            published_at: self.published_at,
            dead_at: self.link.clock.now(),
            evidence,
            attempts,
        };
        dead_letters::store(&self.link, letter, self.sequence).await?;
        self.tell(AckKind::Term).await?;
        self.forget_attempts().await;
        Ok(())
    }

    /// Ends a message whose time to live is over.
    pub(crate) async fn expire(&self) -> Result<(), BrokerError> {
        self.tell(AckKind::Ack).await?;
        self.forget_attempts().await;
        Ok(())
    }

    /// Tells the server, and waits until it has heard.
    pub(crate) async fn tell(&self, what: AckKind) -> Result<(), BrokerError> {
        let said = format!("{what:?}");
        let failed = || format!("queue {:?}: {said} of message {:?} was not confirmed", self.queue, self.envelope.id);
        in_time(failed, self.link.client.request(self.reply.clone(), what.into())).await.map(drop)
    }

    async fn forget_attempts(&self) {
        if self.record.at.is_some() {
            Record::delete(&self.link, &self.queue, self.sequence).await;
        }
    }
}
