//! Subjects of NATS without streams: at most once, nothing is kept.
//!
//! A topic is a subject of the same name, and a queue is a queue group: each message comes to one of the hosts that
//! listen, or to nobody. There is no redelivery and no dead letter: a message that fails is lost, and the log tells it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Message, Subscriber};
use async_trait::async_trait;
use futures::stream::SelectAll;
use futures::{FutureExt, StreamExt};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wasmpost_delivery::{
    Access, Admission, Broker, BrokerError, BrokerErrorKind, Capabilities, Clock, DeadLetters, Delivery, Evidence,
    Lease, Nack, Queue, QueueSpec, QueueStats, Receipt, Renewer, Site,
};
use wasmpost_msg::Publication;

use crate::connect::{Connection, connect};
use crate::envelope::Envelope;
use crate::error::{in_time, invalid};
use crate::options::Options;

/// The most bytes of headers and the envelope beside body and attributes.
const HEADERS_BYTES_MAX: usize = 64 << 10;

/// A broker on subjects of a NATS server, at most once.
pub struct NatsCoreBroker(Arc<Core>);

struct Core {
    client: Client,
    admission: Admission,
    clock: Clock,
    closed: CancellationToken,
}

struct CoreQueue {
    core: Arc<Core>,
    spec: QueueSpec,
    coming: Mutex<SelectAll<Subscriber>>,
}

/// There is nothing to settle: the server has forgotten the message.
struct CoreLease {
    core: Arc<Core>,
    queue: String,
    id: String,
    settled: bool,
}

struct CoreRenewer;

impl NatsCoreBroker {
    /// Connects to the servers of a URL such as `nats-core://host:4222`.
    ///
    /// # Errors
    ///
    /// `Invalid` for a URL, credentials or certificates that are refused, and `Unavailable` if no server can be reached
    /// in time.
    pub async fn open(url: &str, access: &Access) -> Result<Arc<Self>, BrokerError> {
        let options = Options::parse_core(url)?;
        let Connection { client, .. } = connect(&options, access).await?;
        let body_bytes_max = client.max_payload().saturating_sub(HEADERS_BYTES_MAX);
        let admission = Admission { body_bytes_max, attributes_bytes_max: HEADERS_BYTES_MAX / 2 };
        let clock = Clock::system();
        let closed = CancellationToken::new();
        Ok(Arc::new(Self(Arc::new(Core { client, admission, clock, closed }))))
    }
}

impl NatsCoreBroker {
    /// The place that the URL names. All of it is checked, without connecting.
    ///
    /// # Errors
    ///
    /// `Invalid`, with the part of the URL that is wrong.
    pub fn site(url: &str) -> Result<Site, BrokerError> {
        Ok(Options::parse_core(url)?.site("nats-core"))
    }

    /// Checks whether there can be such a queue, without connecting.
    ///
    /// # Errors
    ///
    /// `Invalid` for a name that no subject can have.
    pub fn check_queue(spec: &QueueSpec) -> Result<(), BrokerError> {
        spec.check()?;
        spec.all_topics().iter().try_for_each(|topic| subject(topic).map(drop))
    }
}

impl Core {
    fn check(&self) -> Result<(), BrokerError> {
        if self.closed.is_cancelled() { Err(Self::closed_error()) } else { Ok(()) }
    }

    fn closed_error() -> BrokerError {
        BrokerError::new(BrokerErrorKind::Closed, "connection to NATS was closed")
    }

    /// Without storage, a message cannot be delayed either.
    fn admit(&self, publication: &Publication) -> Result<(), BrokerError> {
        self.admission.check(publication)?;
        if !publication.delay.is_zero() {
            return Err(invalid(format!("topic {:?}: nats-core: cannot delay a message", publication.topic)));
        }
        subject(&publication.topic).map(drop)
    }

    async fn publish(&self, publications: Vec<Publication>) -> Result<Vec<Receipt>, BrokerError> {
        publications.iter().try_for_each(|publication| self.admit(publication))?;
        let mut receipts = Vec::with_capacity(publications.len());
        for publication in publications {
            let id = publication.id.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
            let headers = Envelope::of(&publication, id.clone()).headers(&id)?;
            let subject = subject(&publication.topic)?;
            let sending = self.client.publish_with_headers(subject, headers, publication.body);
            in_time(|| format!("topic {:?}: message was not sent", publication.topic), sending).await?;
            receipts.push(Receipt { id, duplicate: false });
        }
        in_time(|| "messages were not sent".to_owned(), self.client.flush()).await?;
        Ok(receipts)
    }
}

/// The subject of a topic.
fn subject(topic: &str) -> Result<String, BrokerError> {
    match topic.split('.').any(str::is_empty) {
        true => Err(invalid(format!("topic {topic:?} is no subject of NATS: there is nothing between two dots"))),
        false => Ok(topic.to_owned()),
    }
}

#[async_trait]
impl Broker for NatsCoreBroker {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durable: false,
            ordering_keys: false,
            delays: false,
            deduplication: false,
            purge_forgets_ids: false,
            transactional_outbox: false,
            ttl: false,
            quotas: false,
            key_isolation: false,
            lapsing_leases: false,
            exact_stats: false,
            shared: true,
        }
    }

    async fn queue(&self, spec: QueueSpec) -> Result<Arc<dyn Queue>, BrokerError> {
        self.0.check()?;
        Self::check_queue(&spec)?;
        let mut coming = SelectAll::new();
        for topic in spec.all_topics() {
            let subject = subject(&topic)?;
            let group = spec.name.clone();
            let subscribing = self.0.client.queue_subscribe(subject, group);
            coming.push(in_time(|| format!("topic {topic:?} cannot be subscribed to"), subscribing).await?);
        }
        in_time(|| format!("queue {:?} is not served yet", spec.name), self.0.client.flush()).await?;
        Ok(Arc::new(CoreQueue { core: Arc::clone(&self.0), spec, coming: Mutex::new(coming) }))
    }

    async fn publish(&self, publications: Vec<Publication>) -> Result<Vec<Receipt>, BrokerError> {
        self.0.check()?;
        self.0.publish(publications).await
    }

    async fn stats(&self) -> Result<Vec<QueueStats>, BrokerError> {
        // Nothing lies anywhere.
        self.0.check().map(|()| Vec::new())
    }

    fn dead_letters(&self) -> Option<&dyn DeadLetters> {
        None
    }

    async fn close(&self) -> Result<(), BrokerError> {
        self.0.closed.cancel();
        in_time(|| "connection could not be flushed".to_owned(), self.0.client.flush()).await
    }
}

impl CoreQueue {
    fn delivery(&self, message: Message) -> Delivery {
        let envelope = Envelope::read(message.headers.as_ref(), &message.subject, || Uuid::now_v7().to_string());
        let id = envelope.id;
        let lease =
            CoreLease { core: Arc::clone(&self.core), queue: self.spec.name.clone(), id: id.clone(), settled: false };
        Delivery {
            id,
            topic: envelope.topic,
            attributes: envelope.attributes,
            body: message.payload,
            deliveries: 1,
            failures: 0,
            hops: envelope.hops,
            key: envelope.key,
            published_at: self.core.clock.now(),
            lease: Box::new(lease),
        }
    }
}

#[async_trait]
impl Queue for CoreQueue {
    fn name(&self) -> &str {
        &self.spec.name
    }

    fn lease(&self) -> Duration {
        self.spec.lease
    }

    async fn pull(&self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        self.core.check()?;
        let pulling = async {
            let mut coming = self.coming.lock().await;
            let first = coming.next().await.ok_or_else(Core::closed_error)?;
            let mut pulled = vec![self.delivery(first)];
            while pulled.len() < max
                && let Some(Some(message)) = coming.next().now_or_never()
            {
                pulled.push(self.delivery(message));
            }
            Ok(pulled)
        };
        tokio::select! {
            biased;
            () = self.core.closed.cancelled() => Err(Core::closed_error()),
            pulled = pulling => pulled,
        }
    }

    fn room(&self, publications: &[Publication]) -> Result<(), BrokerError> {
        publications.iter().try_for_each(|publication| self.core.admit(publication))
    }

    async fn drained(&self) -> Result<(), BrokerError> {
        // Nothing waits at the server, ever.
        self.core.check()
    }
}

impl CoreLease {
    fn lost(&mut self, why: &str) {
        self.settled = true;
        tracing::warn!(
            queue = self.queue,
            id = self.id,
            "{why}; nats-core: delivers at most once, the message is lost"
        );
    }
}

#[async_trait]
impl Lease for CoreLease {
    fn renewer(&self) -> Arc<dyn Renewer> {
        Arc::new(CoreRenewer)
    }

    async fn ack(mut self: Box<Self>, outbox: Vec<Publication>) -> Result<(), BrokerError> {
        self.settled = true;
        if outbox.is_empty() {
            return Ok(());
        }
        self.core.publish(outbox).await.map(drop)
    }

    async fn nack(mut self: Box<Self>, _: Nack) -> Result<(), BrokerError> {
        self.lost("message cannot be put back");
        Ok(())
    }

    async fn reject(mut self: Box<Self>, _: Evidence) -> Result<(), BrokerError> {
        self.lost("message cannot be kept among dead letters");
        Ok(())
    }
}

impl Drop for CoreLease {
    fn drop(&mut self) {
        if !self.settled {
            self.lost("message was not processed");
        }
    }
}

#[async_trait]
impl Renewer for CoreRenewer {
    async fn renew(&self) -> Result<(), BrokerError> {
        Ok(())
    }
}
