//! What the cases share: publishing, pulling within a time, and telling what is deliverable now.

use std::sync::Arc;
use std::time::Duration;

use wasmpost_msg::{Attributes, Publication, Reason};

use crate::{Attempt, Broker, Clock, DeadLetters, Delivery, Evidence, Queue, QueueSpec, QueueStats};

/// How long anything may take before the case fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A broker with its clock.
#[derive(Clone)]
pub struct Fixture {
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// Its clock, which stands still until it is advanced.
    pub clock: Clock,
}

impl Fixture {
    pub(super) fn new(broker: Arc<dyn Broker>, clock: Clock) -> Self {
        Self { broker, clock }
    }

    pub(super) async fn queue(&self, name: &str) -> Arc<dyn Queue> {
        self.broker.queue(QueueSpec::new(name)).await.unwrap()
    }

    pub(super) async fn queue_with_topics(&self, name: &str, topics: &[&str]) -> Arc<dyn Queue> {
        let topics = topics.iter().map(|&topic| topic.to_owned()).collect();
        self.broker.queue(QueueSpec { topics, ..QueueSpec::new(name) }).await.unwrap()
    }

    /// Publishes a message whose id is its body.
    pub(super) async fn publish(&self, topic: &str, body: &str) {
        self.publish_all(vec![publication(topic, body)]).await;
    }

    pub(super) async fn publish_all(&self, publications: Vec<Publication>) {
        let count = publications.len();
        assert_eq!(self.broker.publish(publications).await.unwrap().len(), count);
    }

    /// The next delivery.
    pub(super) async fn next(&self, queue: &Arc<dyn Queue>) -> Delivery {
        in_time(queue.pull(1)).await.unwrap().pop().unwrap()
    }

    /// Leases all that can be delivered now. A marker that is published behind it tells where it ends.
    pub(super) async fn deliverable(&self, queue: &Arc<dyn Queue>) -> Vec<Delivery> {
        const MARKER: &str = "end-of-what-is-deliverable";
        self.broker.publish(vec![Publication::new(queue.name(), Attributes::new(), MARKER)]).await.unwrap();
        let mut all = Vec::new();
        loop {
            for delivery in in_time(queue.pull(100)).await.unwrap() {
                if delivery.body != MARKER {
                    all.push(delivery);
                    continue;
                }
                delivery.lease.ack(Vec::new()).await.unwrap();
                return all;
            }
        }
    }

    /// The bodies of what can be delivered now; all of it is given back.
    pub(super) async fn peek(&self, queue: &Arc<dyn Queue>) -> Vec<String> {
        bodies(&self.deliverable(queue).await)
    }

    pub(super) fn dead(&self) -> &dyn DeadLetters {
        self.broker.dead_letters().expect("broker keeps dead letters that one can look at")
    }

    pub(super) async fn stats(&self, queue: &str) -> QueueStats {
        let all = self.broker.stats().await.unwrap();
        all.into_iter().find(|stats| stats.queue == queue).unwrap_or_default()
    }

    pub(super) fn advance_seconds(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
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
        verdict: "nack".into(),
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
        attempt: Some(Attempt { verdict: "reject".into(), delay: None, reason, ..attempt(delivery, error) }),
        ..Evidence::by_host(reason, error)
    }
}
