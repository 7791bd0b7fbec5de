//! The hub that the parts of a broker share: connection, publisher, catalogue, clock and counters.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use wasmpost_delivery::{Admission, BrokerError, Clock, Evidence, QueueSpec, Timestamp};
use wasmpost_msg::{Publication, chain};

use crate::catalogue::{self, Catalogue, Opened};
use crate::envelope::{Death, Envelope};
use crate::link::Link;
use crate::lock::Lock;
use crate::publisher::{Outgoing, Publisher};
use crate::{copy, delay, names, topology};

pub(crate) struct Hub {
    pub(crate) link: Arc<Link>,
    /// The connection that is published over.
    publishing: Arc<Link>,
    pub(crate) lock: Lock,
    pub(crate) clock: Clock,
    pub(crate) admission: Admission,
    publisher: Publisher,
    known: Mutex<Known>,
    tallies: Mutex<HashMap<String, Arc<Mutex<Tally>>>>,
}

/// The topics and queues that this process declared, so that they need not be looked up for each message.
#[derive(Default)]
struct Known {
    topics: HashSet<String>,
    delays: HashSet<(String, Duration)>,
}

/// Counters of this process for a queue.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) acked: u64,
    pub(crate) expired: u64,
    /// Messages of the queue at this process, with receivers or on the way.
    pub(crate) out: u64,
}

/// How long a broker that is restarted is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most names of topics and delays that are remembered as declared.
const KNOWN_MAX: usize = 100_000;

impl Hub {
    pub(crate) fn new(link: Arc<Link>, clock: Clock, admission: Admission) -> Self {
        let publishing = Arc::new(link.for_publishing());
        let publisher = Publisher::start(&publishing);
        let known = Mutex::default();
        let tallies = Mutex::default();
        Self { link, publishing, lock: Lock::default(), clock, admission, publisher, known, tallies }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn tally(&self, queue: &str) -> Arc<Mutex<Tally>> {
        Arc::clone(self.tallies.lock().entry(queue.to_owned()).or_default())
    }

    /// Checks publications, and makes messages of them.
    pub(crate) fn admit(&self, publications: Vec<Publication>) -> Result<Vec<Envelope>, BrokerError> {
        for publication in &publications {
            self.admission.check(publication)?;
            names::check(&publication.topic)?;
        }
        let now = self.now();
        Ok(publications.into_iter().map(|publication| Envelope::new(publication, now)).collect())
    }

    /// Publishes to topics, with confirms.
    pub(crate) async fn publish(&self, envelopes: &[Envelope]) -> Result<(), BrokerError> {
        self.link.check()?;
        let topics: HashSet<_> = envelopes.iter().map(|envelope| envelope.head.topic.as_str()).collect();
        for topic in topics {
            if !self.known.lock().topics.contains(topic) {
                let mut opened = self.catalogue().await?;
                let prepared = topology::prepare_topic(&self.link, &mut opened.catalogue, topic).await;
                opened.close(prepared).await?;
                self.know(|known| known.topics.extend([topic.to_owned()]));
            }
        }
        self.send(envelopes.iter().map(Outgoing::to_topic).collect()).await
    }

    /// Puts messages into a queue itself.
    pub(crate) async fn put(&self, queue: &str, envelopes: &[Envelope]) -> Result<(), BrokerError> {
        let work = names::work(queue);
        self.send(envelopes.iter().map(|envelope| Outgoing::to_queue(work.clone(), envelope)).collect()).await
    }

    /// Has a message wait until it is due, or hop a part of the way.
    pub(crate) async fn put_off(&self, queue: &str, envelope: &Envelope) -> Result<(), BrokerError> {
        let rest = envelope.head.due.map_or(Duration::ZERO, |due| due.since(self.now()));
        if rest.is_zero() {
            return self.put(queue, std::slice::from_ref(envelope)).await;
        }
        let tier = delay::tier(rest);
        let key = (queue.to_owned(), tier);
        if !self.known.lock().delays.contains(&key) {
            let mut opened = self.catalogue().await?;
            let declared = topology::declare_delay(&self.link, &mut opened.catalogue, queue, tier).await;
            opened.close(declared).await?;
            self.know(|known| known.delays.extend([key]));
        }
        self.send(vec![Outgoing::to_queue(names::delay(queue, tier), envelope)]).await
    }

    /// Adds a message to the dead letters of a queue.
    pub(crate) async fn bury(
        &self,
        queue: &str,
        mut envelope: Envelope,
        evidence: Evidence,
    ) -> Result<(), BrokerError> {
        if let Some(attempt) = evidence.attempt.clone() {
            envelope.record(attempt);
        }
        envelope.head.death = Some(Death { at: self.now(), evidence });
        self.send(vec![Outgoing::to_queue(names::dead(queue), &envelope)]).await
    }

    /// Declares a queue, and tells which of its topics kept messages before.
    pub(crate) async fn declare(&self, spec: &QueueSpec) -> Result<Vec<String>, BrokerError> {
        let mut opened = self.catalogue().await?;
        let declared = topology::declare_queue(&self.link, &mut opened.catalogue, spec).await;
        let kept = spec.all_topics().into_iter().filter(|topic| opened.catalogue.kept.contains(topic)).collect();
        opened.close(declared.map(|()| kept)).await
    }

    /// The catalogue, for this host alone until it is closed.
    pub(crate) async fn catalogue(&self) -> Result<Opened, BrokerError> {
        catalogue::open(&self.link, &self.publishing, &self.lock).await
    }

    /// Ends both connections: what was leased goes back to the broker.
    pub(crate) async fn close(&self) {
        tokio::join!(self.link.close(), self.publishing.close());
    }

    /// The catalogue as it was last written. Reading it writes nothing but the first copy.
    pub(crate) async fn read_catalogue(&self) -> Result<Catalogue, BrokerError> {
        if let Some(read) = copy::read(&self.link).await? {
            return Ok(read);
        }
        let mut opened = self.catalogue().await?;
        opened.copy();
        let read = opened.catalogue.clone();
        opened.close(Ok(read)).await
    }

    /// Waits for a broker that is restarted, where doing something twice does no harm.
    pub(crate) fn patience(&self) -> Patience<'_> {
        Patience { link: &self.link, deadline: Instant::now() + PATIENCE, pause: Duration::from_millis(100) }
    }

    async fn send(&self, messages: Vec<Outgoing>) -> Result<(), BrokerError> {
        let sent = tokio::select! {
            sent = self.publisher.send(messages) => sent,
            () = self.link.closed().cancelled() => return Err(crate::error::closed()),
        };
        if sent.is_err() {
            // It may be gone what was declared: it is looked up for the next try.
            *self.known.lock() = Known::default();
        }
        sent
    }

    fn know(&self, add: impl FnOnce(&mut Known)) {
        let mut known = self.known.lock();
        if known.topics.len() + known.delays.len() > KNOWN_MAX {
            *known = Known::default();
        }
        add(&mut known);
    }
}

/// How long something is tried again.
pub(crate) struct Patience<'a> {
    link: &'a Link,
    deadline: Instant,
    pause: Duration,
}

impl Patience<'_> {
    /// Waits before the next try, or gives the error back that another try does not help.
    pub(crate) async fn wait(&mut self, error: BrokerError) -> Result<(), BrokerError> {
        if !error.passes() || Instant::now() + self.pause > self.deadline {
            return Err(error);
        }
        tracing::debug!(error = %chain(&error), "trying again");
        let pause = self.pause.mul_f64(0.5 + fastrand::f64());
        drop(tokio::time::timeout(pause, self.link.closed().cancelled()).await);
        self.pause = (self.pause * 2).min(Duration::from_secs(2));
        Ok(())
    }
}
