//! The broker: one stream on NATS.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::ContextBuilder;
use async_trait::async_trait;
use futures::future::{join_all, try_join_all};
use wasmpost_delivery::{
    Access, Admission, Broker, BrokerError, Capabilities, Clock, DeadLetters, Nack, Queue, QueueSpec, QueueStats,
    Receipt, Site,
};
use wasmpost_msg::{Publication, chain};

use crate::connect::{self, Connection, connect};
use crate::dead_letters::EVIDENCE_BYTES_MAX;
use crate::error::{ANSWER_TIMEOUT, in_time, invalid};
use crate::link::{Link, Parts};
use crate::options::Options;
use crate::queue::NatsQueue;
use crate::{bindings, consumers, stats, streams};

/// The largest attributes of one message: they travel in a header, which the server bounds.
const ATTRIBUTES_BYTES_MAX: usize = 32 << 10;
/// The smallest `max_payload` of a server that this can work with.
const PAYLOAD_BYTES_MIN: usize = 2 * EVIDENCE_BYTES_MAX;
/// How long giving leases back may take when the broker is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A broker that keeps its messages in streams of a NATS server.
pub struct NatsBroker {
    link: Arc<Link>,
}

impl NatsBroker {
    /// Connects to the servers of a URL such as `nats://host:4222/stream?replicas=3`, and makes or checks the streams.
    ///
    /// # Errors
    ///
    /// `Invalid` for a URL, credentials or certificates that are refused, and for a server or a stream that is set up
    /// otherwise than needed. `NotFound` if the URL forbids to make streams and one is missing. `Unavailable` if no
    /// server can be reached in time.
    pub async fn open(url: &str, access: &Access) -> Result<Arc<Self>, BrokerError> {
        let options = Options::parse(url)?;
        let Connection { client, generation } = connect(&options, access).await?;
        let context = ContextBuilder::new().timeout(ANSWER_TIMEOUT).build(client.clone());
        let known = streams::declare(&context, &options).await?;
        let max_payload = client.max_payload();
        if max_payload < PAYLOAD_BYTES_MIN {
            let fault =
                format!("max_payload of the server is {max_payload} bytes; at least {PAYLOAD_BYTES_MIN} are needed");
            return Err(invalid(fault));
        }
        let names = &options.names;
        let opening = [names.stream.clone(), names.dead(), names.attempts(), names.queues()].map(|name| {
            let context = &context;
            async move {
                in_time(|| format!("stream {name:?} could not be opened"), context.get_stream_no_info(&name)).await
            }
        });
        let streams = try_join_all(opening).await?;
        let streams = streams.try_into().map_err(|_| invalid("streams could not be opened"))?;
        // A message becomes a dead letter with its evidence, which has to fit as well.
        let body_bytes_max = (max_payload - EVIDENCE_BYTES_MAX).min(Admission::default().body_bytes_max);
        let admission = Admission { body_bytes_max, attributes_bytes_max: ATTRIBUTES_BYTES_MAX };
        let clock = Clock::system();
        let parts = Parts { options, known, client, context, generation, streams, admission, clock };
        let link = Arc::new(Link::new(parts));
        bindings::watch(Arc::clone(&link)).await?;
        bindings::load(&link).await?;
        Ok(Arc::new(Self { link }))
    }

    /// The place that the URL names. All of it is checked, without connecting.
    ///
    /// # Errors
    ///
    /// `Invalid`, with the part of the URL that is wrong.
    pub fn site(url: &str) -> Result<Site, BrokerError> {
        Ok(Options::parse(url)?.site("nats"))
    }

    /// Checks what proves who connects, as far as that can be told without connecting.
    ///
    /// # Errors
    ///
    /// `Invalid` for a file that cannot be read or used, and for credentials that cannot be given together.
    pub async fn check_access(access: &Access) -> Result<(), BrokerError> {
        connect::check(access).await
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }
}

impl Drop for NatsBroker {
    /// Has the tasks end; leases lapse.
    fn drop(&mut self) {
        self.link.closed.cancel();
    }
}

#[async_trait]
impl Broker for NatsBroker {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durable: self.link.known.durable,
            ordering_keys: self.link.known.partitions > 0,
            delays: true,
            deduplication: true,
            // The stream itself remembers ids, and is not to be told to forget one.
            purge_forgets_ids: false,
            transactional_outbox: false,
            ttl: true,
            quotas: false,
            key_isolation: false,
            lapsing_leases: true,
            exact_stats: false,
            shared: true,
        }
    }

    async fn queue(&self, spec: QueueSpec) -> Result<Arc<dyn Queue>, BrokerError> {
        self.link.check()?;
        spec.check()?;
        consumers::declare(&self.link, &spec).await?;
        bindings::declare(&self.link, &spec).await?;
        Ok(Arc::new(NatsQueue::new(&self.link, &spec).await?))
    }

    async fn publish(&self, publications: Vec<Publication>) -> Result<Vec<Receipt>, BrokerError> {
        self.link.check()?;
        self.link.publish_to_topics(publications).await
    }

    async fn stats(&self) -> Result<Vec<QueueStats>, BrokerError> {
        self.link.check()?;
        stats::read(&self.link).await
    }

    fn dead_letters(&self) -> Option<&dyn DeadLetters> {
        Some(self)
    }

    async fn close(&self) -> Result<(), BrokerError> {
        self.link.closed.cancel();
        let held = self.link.held();
        let giving_back = held.iter().map(|hold| async move {
            if hold.settle().is_ok() {
                let given_back = hold.put_back(Nack::give_back()).await;
                hold.end();
                if let Err(error) = given_back {
                    tracing::warn!(
                        queue = %hold.queue, id = %hold.envelope.id, error = %chain(&error),
                        "lease could not be given back; it will lapse"
                    );
                }
            }
        });
        let ending = async {
            join_all(giving_back).await;
            // Whatever was said last is on its way when the process ends.
            if let Err(error) = self.link.client.flush().await {
                tracing::debug!(error = %error, "connection could not be flushed");
            }
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, ending).await.is_err() {
            tracing::warn!("leases could not be given back in time; they will lapse");
        }
        Ok(())
    }
}
