//! Functions for all cases: publish, pull within a time, and find out which messages can be delivered now.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmpost_msg::{Attributes, Publication, Reason};

use super::{Harness, Time, WINDOW_SECONDS};
use crate::broker::{Broker, Queue, QueueSpec, QueueStats};
use crate::clock::Clock;
use crate::dead_letter::{Attempt, AttemptVerdict, DeadLetters, Evidence};
use crate::lease::{Delivery, Nack};

/// How long anything may take before the case fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// A message that is published behind all others, to tell where they end.
const MARKER: &str = "end-of-what-is-deliverable";

/// A broker with its clock.
#[derive(Clone)]
pub struct Fixture {
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// Its clock, which stands still until it is advanced where time is manual.
    pub clock: Clock,
    harness: Arc<dyn Harness>,
}

impl Fixture {
    pub(super) fn new(broker: Arc<dyn Broker>, clock: Clock, harness: Arc<dyn Harness>) -> Self {
        Self { broker, clock, harness }
    }

    /// The fixture of another process that has the same broker.
    pub(super) async fn another(&self) -> Self {
        let broker = self.harness.another(self.clock.clone()).await;
        Self { broker, ..self.clone() }
    }

    /// The fixture after what keeps the messages has crashed and come back.
    pub(super) async fn restarted(self) -> Self {
        let broker = self.harness.restart(self.broker, self.clock.clone()).await;
        Self { broker, clock: self.clock, harness: self.harness }
    }

    pub(super) async fn queue(&self, name: &str) -> Arc<dyn Queue> {
        self.queue_with_topics(name, &[]).await
    }

    pub(super) async fn queue_with_topics(&self, name: &str, topics: &[&str]) -> Arc<dyn Queue> {
        let topics = topics.iter().map(|&topic| topic.to_owned()).collect();
        self.declared(QueueSpec { topics, lease: self.seconds(30), ..QueueSpec::new(name) }).await
    }

    /// A queue whose leases last so many seconds.
    pub(super) async fn queue_with_leases(&self, name: &str, seconds: u32) -> Arc<dyn Queue> {
        self.declared(QueueSpec { lease: self.seconds(seconds), ..QueueSpec::new(name) }).await
    }

    async fn declared(&self, spec: QueueSpec) -> Arc<dyn Queue> {
        in_time(self.broker.queue(spec)).await.unwrap()
    }

    /// Publishes a message whose id is its body.
    pub(super) async fn publish(&self, topic: &str, body: &str) {
        self.publish_all(vec![publication(topic, body)]).await;
    }

    pub(super) async fn publish_all(&self, publications: Vec<Publication>) {
        let count = publications.len();
        assert_eq!(in_time(self.broker.publish(publications)).await.unwrap().len(), count);
    }

    /// The next delivery.
    pub(super) async fn next(&self, queue: &Arc<dyn Queue>) -> Delivery {
        in_time(queue.pull(1)).await.unwrap().pop().unwrap()
    }

    /// The next delivery, of a message that was put back at `since` for `delay`. Asserts that it does not come before.
    pub(super) async fn next_after(&self, queue: &Arc<dyn Queue>, since: Instant, delay: Duration) -> Delivery {
        if self.is_manual() {
            self.clock.advance(delay - Duration::from_millis(1));
            self.finds(queue, &[]).await;
            self.clock.advance(Duration::from_millis(1));
            return self.next(queue).await;
        }
        let delivery = self.next(queue).await;
        let waited = since.elapsed();
        assert!(waited >= delay, "delivered after {waited:?}, not before {delay:?}");
        delivery
    }

    /// Asserts that all of these can be delivered now, and nothing else, and leases them.
    pub(super) async fn takes(&self, queue: &Arc<dyn Queue>, expected: &[impl AsRef<str>]) -> Vec<Delivery> {
        let expected: Vec<_> = expected.iter().map(|body| body.as_ref().to_owned()).collect();
        let taken = self.deliverable(queue, expected.len()).await;
        assert_eq!(self.comparable(bodies(&taken)), self.comparable(expected));
        taken
    }

    /// The same, and gives all of them back.
    pub(super) async fn finds(&self, queue: &Arc<dyn Queue>, expected: &[&str]) {
        for delivery in self.takes(queue, expected).await {
            delivery.lease.nack(Nack::give_back()).await.unwrap();
        }
    }

    /// The bodies of as much as is expected and can be delivered now, sorted; all of it is given back.
    pub(super) async fn deliverable_in_any_order(&self, queue: &Arc<dyn Queue>, expected: usize) -> Vec<String> {
        let taken = self.deliverable(queue, expected).await;
        let mut all = bodies(&taken);
        all.sort();
        for delivery in taken {
            delivery.lease.nack(Nack::give_back()).await.unwrap();
        }
        all
    }

    /// Where deliveries come over a wire, those that were put back come in no certain order.
    fn comparable(&self, mut bodies: Vec<String>) -> Vec<String> {
        if !self.is_manual() {
            bodies.sort();
        }
        bodies
    }

    /// Leases all that can be delivered now. A marker that is published behind it tells where it ends; on real time it
    /// must be as much as expected, and for a second nothing more may come.
    async fn deliverable(&self, queue: &Arc<dyn Queue>, expected: usize) -> Vec<Delivery> {
        self.broker.publish(vec![Publication::new(queue.name(), Attributes::new(), MARKER)]).await.unwrap();
        let mut all = Vec::new();
        let mut marked = false;
        loop {
            let complete = marked && (self.is_manual() || all.len() >= expected);
            if complete && self.is_manual() {
                return all;
            }
            let patience = if complete { self.seconds(1) } else { PATIENCE };
            let Ok(pulled) = tokio::time::timeout(patience, queue.pull(100)).await else {
                assert!(complete, "only {:?} of {expected} messages came in time", bodies(&all));
                return all;
            };
            for delivery in pulled.unwrap() {
                if delivery.body == MARKER {
                    marked = true;
                    delivery.lease.ack(Vec::new()).await.unwrap();
                } else {
                    all.push(delivery);
                }
            }
        }
    }

    pub(super) fn dead(&self) -> &dyn DeadLetters {
        self.broker.dead_letters().expect("broker keeps dead letters that one can look at")
    }

    pub(super) async fn stats(&self, queue: &str) -> QueueStats {
        let all = in_time(self.broker.stats()).await.unwrap();
        all.into_iter().find(|stats| stats.queue == queue).unwrap_or_default()
    }

    /// Asserts what a broker whose figures are exact says of a queue.
    pub(super) async fn counts(&self, queue: &str, of: impl Fn(&QueueStats) -> u64, expected: u64) {
        if self.broker.capabilities().exact_stats {
            let stats = self.stats(queue).await;
            assert_eq!(of(&stats), expected, "{stats:?}");
        }
    }

    pub(super) fn is_manual(&self) -> bool {
        self.harness.time() == Time::Manual
    }

    /// So many seconds of the suite.
    pub(super) fn seconds(&self, seconds: u32) -> Duration {
        match self.harness.time() {
            Time::Manual => Duration::from_secs(1),
            Time::Real(second) => second,
        }
        .saturating_mul(seconds)
    }

    /// Lets time pass.
    pub(super) async fn pass(&self, seconds: u32) {
        self.pass_time(self.seconds(seconds)).await;
    }

    /// Lets time pass until leases of the queue that are not renewed have lapsed.
    pub(super) async fn pass_lease(&self, queue: &Arc<dyn Queue>) {
        self.pass_time(queue.lease() + Duration::from_millis(1)).await;
    }

    /// Lets the time pass for which ids are remembered.
    pub(super) async fn pass_window(&self) {
        self.pass(if self.is_manual() { 24 * 60 * 60 } else { WINDOW_SECONDS.1 }).await;
    }

    pub(super) async fn pass_time(&self, duration: Duration) {
        if self.is_manual() {
            self.clock.advance(duration);
        } else {
            // Here it is time itself that is under test.
            tokio::time::sleep(duration).await;
        }
    }
}

pub(super) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("broker answers in time")
}

pub(super) fn publication(topic: &str, body: &str) -> Publication {
    Publication { id: Some(body.to_owned()), ..Publication::new(topic, Attributes::new(), body.to_owned()) }
}

pub(super) fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| String::from_utf8_lossy(&delivery.body).into_owned()).collect()
}

pub(super) fn attempt(delivery: &Delivery, error: &str) -> Attempt {
    Attempt {
        number: delivery.deliveries,
        started_at: delivery.published_at,
        duration: Duration::from_millis(12),
        verdict: AttemptVerdict::Nack,
        delay: Some(Duration::from_secs(1)),
        reason: Reason::Failed,
        error: error.into(),
    }
}

pub(super) fn evidence(delivery: &Delivery, reason: Reason, error: &str) -> Evidence {
    Evidence {
        backtrace: Some("0: receive\n1: main".into()),
        receiver: Some("triage".into()),
        component: Some("sha256:00".into()),
        component_version: Some("1.2.3".into()),
        cpu: Duration::from_micros(1500),
        memory_peak_bytes: 65536,
        attempt: Some(Attempt { verdict: AttemptVerdict::Reject, delay: None, reason, ..attempt(delivery, error) }),
        ..Evidence::by_host(reason, error)
    }
}
