//! Deliveries and their leases.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use wasmpost_msg::{Attributes, Publication};

use crate::dead_letter::{Attempt, Evidence};
use crate::error::BrokerError;
use crate::timestamp::Timestamp;

/// One attempt at a message, with its lease.
///
/// # Examples
///
/// ```
/// use wasmpost_delivery::{BrokerError, Delivery, Lease};
///
/// async fn print(delivery: Delivery) -> Result<(), BrokerError> {
///     println!("{}: delivery {} of {} bytes", delivery.id, delivery.deliveries, delivery.body.len());
///     let lease: Box<dyn Lease> = delivery.lease;
///     lease.ack(Vec::new()).await
/// }
/// # drop(print);
/// ```
pub struct Delivery {
    /// The id: the same on every delivery of the message.
    pub id: String,
    /// The topic that the message was written to.
    pub topic: String,
    /// The metadata.
    pub attributes: Attributes,
    /// The content.
    pub body: Bytes,
    /// How often the message was delivered, this time included. It only grows.
    pub deliveries: u32,
    /// How often the receiver failed since the message was published or redriven.
    pub failures: u32,
    /// How many receivers the message came through.
    pub hops: u32,
    /// The ordering key.
    pub key: Option<String>,
    /// The time at which the message was published.
    pub published_at: Timestamp,
    /// The right to settle it.
    pub lease: Box<dyn Lease>,
}

/// The exclusive right to settle a delivery, until it lapses. Settling consumes it, so a delivery is settled once. A
/// lease that is dropped unsettled is given back as by an uncounted nack without delay.
///
/// Settling a lease that lapsed has no effect and answers with an error of kind `Stale`. When settling fails otherwise,
/// the message stays where it is and is delivered again when the lease has lapsed.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
/// use wasmpost_delivery::{Broker, Clock, Evidence, Nack, QueueSpec};
/// use wasmpost_msg::{Attributes, Publication, Reason};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let clock = Clock::manual();
/// let broker = MemoryBroker::new(MemoryOptions { clock: clock.clone(), ..MemoryOptions::default() });
/// let queue = broker.queue(QueueSpec::new("orders")).await?;
/// broker.publish(vec![Publication::new("orders", Attributes::new(), "one")]).await?;
///
/// // Put back for ten seconds, then rejected.
/// let delivery = queue.pull(1).await?.remove(0);
/// delivery.lease.nack(Nack { delay: Duration::from_secs(10), attempt: None }).await?;
/// assert!(queue.pull_now(1).is_empty());
/// clock.advance(Duration::from_secs(10));
/// let delivery = queue.pull(1).await?.remove(0);
/// delivery.lease.renewer().renew().await?;
/// delivery.lease.reject(Evidence::by_host(Reason::Rejected, "nobody wants it")).await?;
/// assert_eq!(broker.stats().await?[0].dead, 1);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Lease: Send + Sync {
    /// The renewer, which keeps the lease from lapsing.
    fn renewer(&self) -> Arc<dyn Renewer>;

    /// The receiver is about to get the message: from now on the attempt counts, even if the process ends with it. Called
    /// once, before the receiver is; it does not wait. A broker that counts attempts as it hands them out has nothing to
    /// do here.
    ///
    /// # Errors
    ///
    /// `Stale` where the lease was lost. After any other the receiver is not to be called, because an attempt that ends
    /// the process would not be counted.
    fn begin(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    /// The message has been processed; `outbox` is to be published. On brokers with a transactional outbox both or
    /// neither happen, and it returns when both are stored. Without an outbox it may return before the ack is stored: a
    /// crash then delivers the message again.
    ///
    /// # Errors
    ///
    /// `Stale` where the lease was lost, and the settlement had no effect. After any other the message is delivered
    /// again when the lease has lapsed. `Full` and `Limit` where there is no room for the outbox.
    async fn ack(self: Box<Self>, outbox: Vec<Publication>) -> Result<(), BrokerError>;

    /// Puts the message back.
    ///
    /// # Errors
    ///
    /// `Stale` where the lease was lost, and the settlement had no effect. After any other the message is delivered
    /// again when the lease has lapsed.
    async fn nack(self: Box<Self>, nack: Nack) -> Result<(), BrokerError>;

    /// Moves the message to the dead letters.
    ///
    /// # Errors
    ///
    /// `Stale` where the lease was lost, and the settlement had no effect. After any other the message is delivered
    /// again when the lease has lapsed.
    async fn reject(self: Box<Self>, evidence: Evidence) -> Result<(), BrokerError>;
}

/// Keeps a lease from lapsing. It can be called while the lease is being settled.
///
/// # Examples
///
/// ```
/// use async_trait::async_trait;
/// use wasmpost_delivery::{BrokerError, Renewer};
///
/// /// For a broker whose leases never lapse.
/// struct Endless;
///
/// #[async_trait]
/// impl Renewer for Endless {
///     async fn renew(&self) -> Result<(), BrokerError> {
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait Renewer: Send + Sync {
    /// The lease lasts its full time again from now on. A lease that was lost answers with an error of kind `Stale`.
    ///
    /// # Errors
    ///
    /// `Stale` where the lease was lost; `Unavailable` where the broker cannot be reached now, while the lease goes on
    /// for what is left of its time.
    async fn renew(&self) -> Result<(), BrokerError>;
}

/// How a message is put back.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use wasmpost_delivery::Nack;
///
/// // Not before five seconds have passed, and no failure is counted.
/// let nack = Nack { delay: Duration::from_secs(5), ..Nack::give_back() };
/// assert!(nack.attempt.is_none());
/// ```
#[derive(Debug, Clone)]
pub struct Nack {
    /// Not to be delivered before this time has passed.
    pub delay: Duration,
    /// The outcome of the attempt; none where the receiver was not at fault, and then no failure is counted.
    pub attempt: Option<Attempt>,
}

impl Nack {
    /// Puts the message back at once without counting a failure.
    pub fn give_back() -> Self {
        Self { delay: Duration::ZERO, attempt: None }
    }
}

impl std::fmt::Debug for Delivery {
    /// Tells everything but the content: bodies do not belong into logs.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("Delivery");
        shown.field("id", &self.id).field("topic", &self.topic).field("body_bytes", &self.body.len());
        shown.field("deliveries", &self.deliveries).field("failures", &self.failures).finish_non_exhaustive()
    }
}
