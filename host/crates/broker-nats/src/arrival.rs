//! A message as it comes from the server, and what is to be known before it is handed out.

use std::sync::Arc;
use std::time::Instant;

use async_nats::jetstream;
use async_nats::jetstream::AckKind;
use wasmpost_delivery::{Attempt, BrokerError, CRASHES_MAX, Evidence, Nack, Timestamp};
use wasmpost_msg::chain;

use crate::envelope::Envelope;
use crate::hold::{Hold, Told};
use crate::intake::{Intake, timestamp};
use crate::record::Record;
use crate::{consumers, stats};

pub(crate) struct Arrival {
    message: async_nats::Message,
    envelope: Envelope,
    arrived: Instant,
    sequence: u64,
    /// The number of the delivery, as the server counts.
    raw: u32,
    published_at: Timestamp,
}

impl Arrival {
    /// Reads a message, and tells the consumer that it came through.
    pub(crate) fn read(intake: &Intake, message: jetstream::Message) -> Option<(String, Self)> {
        let arrived = Instant::now();
        let (consumer, sequence, delivered, stored_at) = match message.info() {
            Ok(info) => {
                let stored_at = timestamp(info.published.unix_timestamp_nanos());
                (info.consumer.to_owned(), info.stream_sequence, info.delivered, stored_at)
            }
            Err(error) => {
                tracing::warn!(queue = %intake.queue, error = %error, "something came that is no message of a stream");
                return None;
            }
        };
        let envelope =
            Envelope::read(message.headers.as_ref(), &intake.queue, || format!("{}:{sequence}", intake.queue));
        let published_at = envelope.published_at.unwrap_or(stored_at);
        let raw = u32::try_from(delivered).unwrap_or(1).max(1);
        Some((consumer, Self { message: message.message, envelope, arrived, sequence, raw, published_at }))
    }

    /// Hands the message out, if it may be; most can be at once.
    pub(crate) fn settle_in(self, intake: &Arc<Intake>) {
        if self.raw == 1 && self.hidden() == 0 && !self.is_expired(intake) {
            let record = Record { attempts: self.envelope.attempts.clone(), ..Record::default() };
            let hold = self.into_hold(intake, record);
            intake.hand_out(hold);
            return;
        }
        let intake = Arc::clone(intake);
        let settling = async move {
            let sequence = self.sequence;
            let queue = Arc::clone(&intake.queue);
            let id = self.envelope.id.clone();
            if let Err(error) = self.settle_in_later(&intake).await {
                tracing::warn!(
                    %queue, id, sequence, error = %chain(&error),
                    "message could not be handed out; it comes again"
                );
            }
            // Where it was not handed out, who pulls asks for another.
            intake.shelf.came.notify_one();
        };
        tokio::spawn(settling);
    }

    /// A message that was published to come later is delivered once more than receivers see: the first time only tells
    /// that it is there.
    fn hidden(&self) -> u32 {
        u32::from(self.envelope.delay_ms > 0)
    }

    fn is_expired(&self, intake: &Intake) -> bool {
        self.envelope.ttl().is_some_and(|ttl| intake.link.clock.now() >= self.published_at.after(ttl))
    }

    async fn settle_in_later(self, intake: &Arc<Intake>) -> Result<(), BrokerError> {
        let hidden = self.hidden();
        let first = self.raw == 1;
        let is_expired = self.is_expired(intake);
        let (record, lapses) = self.record(intake).await?;
        let due = self.published_at.after(self.envelope.delay());
        let hold = self.into_hold(intake, record);
        let now = intake.link.clock.now();
        if is_expired {
            hold.settle()?;
            let expired = hold.expire().await;
            hold.end();
            expired?;
            return stats::count_expired(&intake.link, &intake.queue, &hold.envelope.id).await;
        }
        if hidden > 0 && (first || now < due) {
            hold.settle()?;
            let delay = due.since(now);
            let hidden = match first {
                true => hold.tell(AckKind::Nak(Some(delay).filter(|delay| !delay.is_zero()))).await,
                false => hold.put_back(Nack { delay, attempt: None }).await,
            };
            hold.end();
            return hidden;
        }
        if lapses >= CRASHES_MAX {
            hold.settle()?;
            tracing::warn!(queue = %intake.queue, id = hold.envelope.id, lapses, "dead-lettered");
            let buried = hold.bury(Evidence::crashed(lapses)).await;
            hold.end();
            return buried;
        }
        intake.hand_out(hold);
        Ok(())
    }

    /// The record of earlier attempts, and how many deliveries lapsed in a row: those without a recorded end.
    async fn record(&self, intake: &Intake) -> Result<(Record, u32), BrokerError> {
        let fresh = Record { seen: self.hidden(), attempts: self.envelope.attempts.clone(), ..Record::default() };
        let mut record = match self.raw {
            1 => fresh,
            _ => Record::read(&intake.link, &intake.queue, self.sequence).await?.unwrap_or(fresh),
        };
        let lapses = self.raw.saturating_sub(1).saturating_sub(record.seen);
        let now = intake.link.clock.now();
        let lease = consumers::ack_wait(intake.lease).as_millis() as u64;
        for lapsed in 0..lapses.min(wasmpost_delivery::HISTORY_MAX as u32) {
            let ago = u64::from(lapses - lapsed).saturating_mul(lease);
            let number = self.counted(record.seen + 1 + lapsed);
            let since = Timestamp(now.0.saturating_sub(ago));
            let until = Timestamp(now.0.saturating_sub(ago - lease));
            record.failed(Attempt::lapsed(number, since, until));
        }
        Ok((record, lapses))
    }

    /// The number of a delivery, as receivers count.
    fn counted(&self, raw: u32) -> u32 {
        self.envelope.deliveries.saturating_add(raw).saturating_sub(self.hidden()).max(1)
    }

    fn into_hold(self, intake: &Arc<Intake>, record: Record) -> Arc<Hold> {
        // A server that crashed may have forgotten its last deliveries; the number grows nevertheless.
        let raw = self.raw.max(record.seen.saturating_add(1));
        let deliveries = self.counted(raw);
        let Self { message, envelope, arrived, sequence, published_at, .. } = self;
        let reply = message.reply.unwrap_or_else(|| "none".into());
        let body = message.payload;
        let told = Told { arrived, reply, sequence, raw, deliveries, record, envelope, body, published_at };
        Hold::new(&intake.link, &intake.queue, intake.lease, told)
    }
}
