//! The broker as its callers see it.

use std::sync::Arc;

use async_trait::async_trait;
use wasmpost_delivery::{
    Access, Admission, Broker, BrokerError, Capabilities, Clock, DeadLetters, Queue, QueueSpec, QueueStats, Receipt,
    Site,
};
use wasmpost_msg::Publication;

use crate::access::{self, Target};
use crate::hub::Hub;
use crate::link::Link;
use crate::queue::RabbitQueue;
use crate::{names, stats, sweep};

/// How RabbitMQ is used.
#[derive(Debug, Clone)]
pub struct RabbitOptions {
    /// How one is let in.
    pub access: Access,
    /// The clock that due times are told by. Those of hosts that share queues should agree.
    pub clock: Clock,
    /// The bounds of messages.
    pub admission: Admission,
}

/// A connection to RabbitMQ, made again whenever it was lost.
pub struct RabbitBroker {
    hub: Arc<Hub>,
}

impl Default for RabbitOptions {
    /// The system's clock, and nothing that proves who comes.
    fn default() -> Self {
        Self { access: Access::default(), clock: Clock::system(), admission: Admission::default() }
    }
}

impl RabbitBroker {
    /// Connects to `amqp://host:5672/vhost`, or `amqps://`.
    ///
    /// # Errors
    ///
    /// `Invalid` for a URL, credentials or certificates that are refused, and for a virtual host that does not exist.
    /// `Unavailable` if the server cannot be reached in time.
    pub async fn open(url: &str, options: RabbitOptions) -> Result<Arc<Self>, BrokerError> {
        let link = Arc::new(Link::new(Arc::new(Target::new(url, &options.access)?)));
        link.connection().await?;
        let hub = Hub::new(link, options.clock, options.admission);
        Ok(Arc::new(Self { hub: Arc::new(hub) }))
    }

    /// The place that the URL names. All of it is checked, without connecting.
    ///
    /// # Errors
    ///
    /// `Invalid`, with the part of the URL that is wrong.
    pub fn site(url: &str) -> Result<Site, BrokerError> {
        access::site(url)
    }

    /// Checks what proves who connects, as far as that can be told without connecting.
    ///
    /// # Errors
    ///
    /// `Invalid` for a file that cannot be read or used, and for credentials that cannot be given together.
    pub fn check_access(url: &str, access: &Access) -> Result<(), BrokerError> {
        Target::new(url, access).map(drop)
    }

    /// Checks whether there can be such a queue, without connecting.
    ///
    /// # Errors
    ///
    /// `Invalid` for a name that no queue or exchange can have.
    pub fn check_queue(spec: &QueueSpec) -> Result<(), BrokerError> {
        spec.check()?;
        spec.all_topics().iter().try_for_each(|name| names::check(name))
    }

    /// The capabilities of every broker of this kind.
    pub fn capabilities_of_all() -> Capabilities {
        Capabilities {
            durable: true,
            ordering_keys: false,
            delays: true,
            deduplication: false,
            purge_forgets_ids: true,
            transactional_outbox: false,
            ttl: true,
            quotas: false,
            key_isolation: false,
            lapsing_leases: false,
            exact_stats: false,
            shared: true,
        }
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    async fn declare(&self, spec: &QueueSpec) -> Result<Vec<String>, BrokerError> {
        let kept = self.hub.declare(spec).await?;
        sweep::all(&self.hub, &spec.name, &kept).await?;
        Ok(kept)
    }
}

impl Drop for RabbitBroker {
    /// Ends what works for it. The connection ends with the last of them.
    fn drop(&mut self) {
        self.hub.link.closed().cancel();
    }
}

#[async_trait]
impl Broker for RabbitBroker {
    fn capabilities(&self) -> Capabilities {
        Self::capabilities_of_all()
    }

    async fn queue(&self, spec: QueueSpec) -> Result<Arc<dyn Queue>, BrokerError> {
        Self::check_queue(&spec)?;
        self.hub.link.check()?;
        let mut patience = self.hub.patience();
        let kept = loop {
            match self.declare(&spec).await {
                Ok(kept) => break kept,
                Err(error) => patience.wait(error).await?,
            }
        };
        Ok(Arc::new(RabbitQueue::start(&self.hub, spec, kept)))
    }

    /// Where it fails after some messages were sent, those may be there: RabbitMQ stores each by itself.
    async fn publish(&self, publications: Vec<Publication>) -> Result<Vec<Receipt>, BrokerError> {
        let envelopes = self.hub.admit(publications)?;
        self.hub.publish(&envelopes).await?;
        Ok(envelopes.into_iter().map(|envelope| Receipt { id: envelope.head.id, duplicate: false }).collect())
    }

    async fn stats(&self) -> Result<Vec<QueueStats>, BrokerError> {
        self.hub.link.check()?;
        let mut patience = self.hub.patience();
        loop {
            match stats::all(&self.hub).await {
                Ok(all) => return Ok(all),
                Err(error) => patience.wait(error).await?,
            }
        }
    }

    fn dead_letters(&self) -> Option<&dyn DeadLetters> {
        Some(self)
    }

    async fn close(&self) -> Result<(), BrokerError> {
        self.hub.close().await;
        Ok(())
    }
}
