//! The leases of deliveries.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use wasmpost_delivery::prove::{Break, Point, is_broken, pass};
use wasmpost_delivery::{BrokerError, BrokerErrorKind, Evidence, Lease, Nack, Renewer, Timestamp};
use wasmpost_msg::{Publication, chain};

use crate::acks::Ack;
use crate::channel::{Channel, Flush};
use crate::flight::{Flight, Note};
use crate::store::Store;

/// Tells whether a lease is settled by an acknowledgement.
const IS_ACK: bool = true;
const IS_NO_ACK: bool = false;

/// The state of the lease of one delivery, shared by its holder, its renewers and the writer. The first change decides:
/// the holder settles it, or the writer lets it lapse.
pub(crate) struct Hold {
    pub(crate) token: u64,
    pub(crate) queue: Arc<str>,
    pub(crate) id: Arc<str>,
    pub(crate) lasts: Duration,
    /// The message and the number of the delivery.
    pub(crate) note: Note,
    /// Whether another message may wait for this one to end.
    pub(crate) has_key: bool,
    phase: Mutex<Phase>,
    /// The place in the flight file, once the receiver has the message.
    place: OnceLock<u32>,
}

#[derive(Clone, Copy)]
enum Phase {
    /// Held until this time.
    Live(Timestamp),
    /// Given up by its holder, and the writer is about to store the outcome.
    Settling(Timestamp),
    Ended,
}

impl Hold {
    /// A lease that begins now.
    pub(crate) fn new(
        token: u64,
        (queue, id): (Arc<str>, Arc<str>),
        lasts: Duration,
        note: Note,
        has_key: bool,
    ) -> Self {
        let phase = Mutex::new(Phase::Live(note.since.after(lasts)));
        Self { token, queue, id, lasts, note, has_key, phase, place: OnceLock::new() }
    }

    /// Notes in the flight file that the receiver gets the message.
    fn begin(&self, flight: &Flight) -> Result<(), BrokerError> {
        // Locked until the note is written: a lease that ends meanwhile would leak its place.
        let phase = self.phase.lock();
        if !matches!(*phase, Phase::Live(_)) {
            return Err(self.stale());
        }
        if self.place.get().is_none() {
            let place = flight.begin(&self.note).map_err(|error| {
                let context = format!("queue {:?}: flight file could not be written", &*self.queue);
                let error = BrokerError::new(BrokerErrorKind::Unavailable, context).caused_by(error);
                tracing::error!(id = %self.id, error = %chain(&error), "attempt cannot be counted and does not begin");
                error
            })?;
            // Nobody else sets it while the phase is locked.
            let _ = self.place.set(place);
        }
        Ok(())
    }

    /// Notes in the flight file that the message was acknowledged, so that the next process stores that if this one
    /// cannot.
    fn note_ack(&self, flight: &Flight) {
        let Some(place) = self.place.get() else { return };
        if let Err(error) = flight.acked(*place, &self.note) {
            tracing::warn!(
                queue = %self.queue, id = %self.id, error = %chain(&error),
                "ack could not be noted; a crash in the next moment delivers the message again"
            );
        }
    }

    fn stale(&self) -> BrokerError {
        BrokerError::stale(&self.queue, &self.id)
    }

    fn settle(&self, now: Timestamp) -> Result<(), BrokerError> {
        let mut phase = self.phase.lock();
        match *phase {
            Phase::Live(deadline) if now < deadline => *phase = Phase::Settling(deadline),
            _ if is_broken(Break::NoFencing) => {}
            _ => return Err(self.stale()),
        }
        Ok(())
    }

    fn renew(&self, now: Timestamp) -> Result<(), BrokerError> {
        let mut phase = self.phase.lock();
        match *phase {
            Phase::Live(deadline) if now < deadline => *phase = Phase::Live(now.after(self.lasts)),
            Phase::Settling(_) => {}
            _ => return Err(self.stale()),
        }
        Ok(())
    }

    /// Ends the lease if its time has passed. Otherwise returns when to check again; never if it is being settled.
    pub(crate) fn lapse(&self, now: Timestamp) -> Result<(), Option<Timestamp>> {
        let mut phase = self.phase.lock();
        match *phase {
            Phase::Live(deadline) if now < deadline => return Err(Some(deadline)),
            Phase::Live(_) => *phase = Phase::Ended,
            Phase::Settling(_) | Phase::Ended => return Err(None),
        }
        Ok(())
    }

    /// Takes the place in the flight file, which is free once the lease has ended.
    pub(crate) fn end(&self) -> Option<u32> {
        *self.phase.lock() = Phase::Ended;
        self.place.get().copied()
    }

    /// Notes that the settlement is stored later: the lease does not lapse before.
    pub(crate) fn settle_later(&self) {
        let mut phase = self.phase.lock();
        if let Phase::Live(deadline) = *phase {
            *phase = Phase::Settling(deadline);
        }
    }

    /// Notes that the settlement was not stored: the lease goes on until its time has passed. Returns that time.
    pub(crate) fn revive(&self, now: Timestamp) -> Timestamp {
        let mut phase = self.phase.lock();
        let deadline = match *phase {
            Phase::Live(deadline) | Phase::Settling(deadline) => deadline,
            Phase::Ended => now,
        };
        *phase = Phase::Live(deadline);
        deadline
    }
}

/// The lease of one delivery, as its holder has it.
pub(crate) struct SqliteLease {
    hold: Arc<Hold>,
    channel: Arc<Channel>,
    /// Whether the message stays leased until its time has passed when this is dropped.
    left: bool,
}

struct SqliteRenewer {
    hold: Arc<Hold>,
    channel: Arc<Channel>,
}

impl SqliteLease {
    pub(crate) fn new(hold: Arc<Hold>, channel: Arc<Channel>) -> Self {
        Self { hold, channel, left: false }
    }

    async fn settle<F>(&mut self, is_ack: bool, flush: Flush, bytes: usize, mut work: F) -> Result<(), BrokerError>
    where
        F: FnMut(&mut Store, u64) -> crate::error::Outcome<()> + Send + 'static,
    {
        // Waits for room first: until then a dropped future gives the lease back.
        let room = self.channel.room().await?;
        self.hold.settle(self.channel.now())?;
        // A settlement that cannot be stored is not tried again before the lease lapses: it would fail at once, again
        // and again.
        self.left = true;
        let token = self.hold.token;
        if is_ack {
            pass(Point::Acked);
        }
        self.channel.call_in(room, flush, bytes, move |store| work(store, token)).await
    }
}

#[async_trait]
impl Lease for SqliteLease {
    fn renewer(&self) -> Arc<dyn Renewer> {
        Arc::new(SqliteRenewer { hold: Arc::clone(&self.hold), channel: Arc::clone(&self.channel) })
    }

    fn begin(&self) -> Result<(), BrokerError> {
        self.channel.check()?;
        if let Some(flight) = self.channel.flight() {
            self.hold.begin(flight)?;
        }
        pass(Point::FlightNoted);
        Ok(())
    }

    async fn ack(mut self: Box<Self>, mut outbox: Vec<Publication>) -> Result<(), BrokerError> {
        if is_broken(Break::OutboxEarly) {
            let early = std::mem::take(&mut outbox);
            self.channel.call(0, move |store| store.publish_all(&early)).await?;
        }
        if outbox.is_empty() && self.channel.acks().gathers() {
            let room = self.channel.ack_room().await?;
            self.hold.settle(self.channel.now())?;
            self.left = true;
            if let Some(flight) = self.channel.flight() {
                self.hold.note_ack(flight);
            }
            pass(Point::Acked);
            return self.channel.gather(Ack::new(Arc::clone(&self.hold), room));
        }
        if let Err(error) = outbox.iter().try_for_each(|publication| self.channel.admission().check(publication)) {
            self.left = true;
            return Err(error);
        }
        let bytes = outbox.iter().map(Publication::bytes).sum();
        // Ack and outbox are one transaction, so what a power cut takes, it takes together.
        let flush = if self.channel.acks().gathers() { Flush::Soon } else { Flush::Now };
        self.settle(IS_ACK, flush, bytes, move |store, token| store.ack(token, &outbox)).await
    }

    async fn nack(mut self: Box<Self>, nack: Nack) -> Result<(), BrokerError> {
        self.settle(IS_NO_ACK, Flush::Now, 0, move |store, token| store.nack(token, &nack)).await
    }

    async fn reject(mut self: Box<Self>, evidence: Evidence) -> Result<(), BrokerError> {
        self.settle(IS_NO_ACK, Flush::Now, 0, move |store, token| store.reject(token, &evidence)).await
    }
}

impl Drop for SqliteLease {
    fn drop(&mut self) {
        if self.left || self.hold.settle(self.channel.now()).is_err() {
            return;
        }
        let token = self.hold.token;
        // A closed broker has given the lease back itself.
        drop(self.channel.tell(None, &self.hold, move |store| store.nack(token, &Nack::give_back())));
    }
}

#[async_trait]
impl Renewer for SqliteRenewer {
    async fn renew(&self) -> Result<(), BrokerError> {
        self.channel.check()?;
        self.hold.renew(self.channel.now())
    }
}
