//! Both embedded brokers against a model of a queue: random histories, compared after every step.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

mod reference;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use reference::{Id, Model};
use wasmpost_broker_sqlite::{SqliteBroker, SqliteOptions};
use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
use wasmpost_delivery::{
    Attempt, AttemptVerdict, Broker, BrokerErrorKind, Clock, DeadLetterFilter, Delivery, Evidence, Nack, Queue,
    QueueSpec, QueueStats,
};
use wasmpost_msg::{Attributes, Publication, Reason};

/// One thing that happens. Numbers stand for one of what there is, counted round.
#[derive(Debug, Clone)]
enum Step {
    Publish {
        key: Option<u8>,
        delay: u64,
        ttl: Option<u64>,
    },
    PublishAgain(usize),
    Pull(usize),
    Ack {
        lease: usize,
        publishes: bool,
    },
    Nack {
        lease: usize,
        delay: u64,
        counted: bool,
    },
    Reject(usize),
    Drop(usize),
    Renew(usize),
    SettleStale(usize),
    Advance(u64),
    Redrive,
    Purge,
    /// Closes the file and opens it again; in memory nothing.
    Reopen,
    /// Ends as a killed process does and opens the file again; in memory nothing.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let lease = 0_usize..8;
    prop_oneof![
        6 => (proptest::option::of(0_u8..3), prop_oneof![3 => Just(0_u64), 1 => 1..20_u64],
              proptest::option::weighted(0.2, 1..60_u64))
            // One that is to wait for longer than it lives is refused.
            .prop_map(|(key, delay, ttl)| Step::Publish { key, delay, ttl: ttl.map(|ttl| ttl + delay) }),
        1 => (0_usize..8).prop_map(Step::PublishAgain),
        8 => (1_usize..4).prop_map(Step::Pull),
        4 => (lease.clone(), any::<bool>()).prop_map(|(lease, publishes)| Step::Ack { lease, publishes }),
        4 => (lease.clone(), 0..20_u64, any::<bool>())
            .prop_map(|(lease, delay, counted)| Step::Nack { lease, delay, counted }),
        2 => lease.clone().prop_map(Step::Reject),
        1 => lease.clone().prop_map(Step::Drop),
        1 => lease.clone().prop_map(Step::Renew),
        1 => lease.prop_map(Step::SettleStale),
        4 => (1_u64..35).prop_map(Step::Advance),
        1 => Just(Step::Redrive),
        1 => Just(Step::Purge),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ]
}

/// A broker beside the model of it.
struct Pair {
    clock: Clock,
    broker: Arc<dyn Broker>,
    sqlite: Option<(Arc<SqliteBroker>, tempfile::TempDir)>,
    queue: Arc<dyn Queue>,
    model: Model,
    /// Live leases, by the message that they are of.
    held: Vec<(Id, Delivery)>,
    /// Leases that lapsed or whose broker was opened again.
    stale: Vec<Delivery>,
}

impl Pair {
    async fn memory() -> Self {
        let clock = Clock::manual();
        let broker = Arc::new(MemoryBroker::new(MemoryOptions { clock: clock.clone(), ..MemoryOptions::default() }));
        let queue = broker.queue(QueueSpec::new("work")).await.unwrap();
        Self { model: Model::new(), clock, broker, sqlite: None, queue, held: vec![], stale: vec![] }
    }

    async fn sqlite() -> Self {
        let clock = Clock::manual();
        let directory = tempfile::tempdir().unwrap();
        let (broker, queue) = open(&directory, &clock).await;
        let model = Model::new();
        let sqlite = Some((Arc::clone(&broker), directory));
        Self { clock, broker, sqlite, queue, model, held: vec![], stale: vec![] }
    }

    async fn run(&mut self, steps: Vec<Step>) {
        for step in steps {
            self.step(&step).await;
            self.compare(&step).await;
        }
        self.drain().await;
    }

    async fn step(&mut self, step: &Step) {
        match *step {
            Step::Publish { key, delay, ttl } => {
                let id = self.model.publish(key, delay, ttl);
                let receipts = self.broker.publish(vec![publication(id, key, delay, ttl)]).await.unwrap();
                assert!(!receipts[0].duplicate && receipts[0].id == name(id));
            }
            Step::PublishAgain(number) => {
                if let Some((id, is_known)) = self.model.publish_again(number) {
                    let receipts = self.broker.publish(vec![publication(id, None, 0, None)]).await.unwrap();
                    assert_eq!(receipts[0].duplicate, is_known, "{id} is known unless it was purged");
                }
            }
            Step::Pull(max) => self.pull(max).await,
            Step::Advance(seconds) => self.advance(seconds).await,
            Step::Redrive => {
                // A message with a key comes back behind those that are in its queue, in an order that is not promised.
                let ids: Vec<_> = self.model.dead_without_key().into_iter().map(name).collect();
                if ids.is_empty() {
                    return;
                }
                let filter = DeadLetterFilter { ids, ..DeadLetterFilter::default() };
                let count = self.broker.dead_letters().unwrap().redrive(&filter).await.unwrap();
                assert_eq!(count, self.model.redrive());
            }
            Step::Purge => {
                let filter = DeadLetterFilter::default();
                let count = self.broker.dead_letters().unwrap().purge(&filter).await.unwrap();
                assert_eq!(count, self.model.purge());
            }
            Step::Reopen => self.reopen(false).await,
            Step::Crash => self.reopen(true).await,
            Step::SettleStale(number) => {
                if let Some(delivery) = taken(&mut self.stale, number) {
                    let error = delivery.lease.ack(vec![publication(0, None, 0, None)]).await.unwrap_err();
                    assert!(matches!(error.kind(), BrokerErrorKind::Stale | BrokerErrorKind::Closed), "{error}");
                }
            }
            _ => self.settle(step).await,
        }
    }

    async fn settle(&mut self, step: &Step) {
        let number = match step {
            Step::Ack { lease, .. } | Step::Nack { lease, .. } => *lease,
            Step::Reject(lease) | Step::Drop(lease) | Step::Renew(lease) => *lease,
            _ => return,
        };
        if let Step::Renew(_) = step {
            let count = self.held.len().max(1);
            if let Some((id, delivery)) = self.held.get(number % count) {
                delivery.lease.renewer().renew().await.unwrap();
                self.model.renew(*id);
            }
            return;
        }
        let Some((id, delivery)) = taken(&mut self.held, number) else { return };
        match *step {
            Step::Ack { publishes, .. } => {
                let outbox = Publication::new("out", Attributes::new(), name(id));
                delivery.lease.ack(if publishes { vec![outbox] } else { vec![] }).await.unwrap();
                self.model.ack(id, publishes);
            }
            Step::Nack { delay, counted, .. } => {
                let attempt = counted.then(|| attempt(&delivery));
                delivery.lease.nack(Nack { delay: Duration::from_secs(delay), attempt }).await.unwrap();
                self.model.put_back(id, delay, counted);
            }
            Step::Reject(_) => {
                delivery.lease.reject(Evidence::by_host(Reason::Rejected, "no")).await.unwrap();
                self.model.bury(id);
            }
            _ => {
                drop(delivery);
                self.model.put_back(id, 0, false);
            }
        }
    }

    async fn pull(&mut self, max: usize) {
        let first = self.model.deliverable().first().copied();
        let Some(first) = first else { return };
        // An ack may be answered before it is stored, and pulling does not wait for that.
        drop(self.broker.stats().await.unwrap());
        let pulled = tokio::time::timeout(Duration::from_secs(3), self.queue.pull(max)).await;
        let pulled = pulled.unwrap_or_else(|_| panic!("{first} is deliverable: {:?}", self.model)).unwrap();
        assert!((1..=max).contains(&pulled.len()));
        let ids: Vec<Id> = pulled.iter().map(|delivery| delivery.id[3..].parse().unwrap()).collect();
        // Which of several that are due since the same time comes first is not promised.
        let is_first = |id: &Id| self.model.due(*id) == self.model.due(first);
        assert!(ids.iter().any(is_first), "{first} is the first that is due");
        for (id, delivery) in ids.into_iter().zip(pulled) {
            assert!(self.model.deliverable().contains(&id), "{id} is deliverable: {:?}", self.model);
            assert_eq!(delivery.body, body(id));
            delivery.lease.begin().unwrap();
            assert_eq!((delivery.deliveries, delivery.failures), self.model.lease(id), "counts of {id}");
            self.held.push((id, delivery));
        }
    }

    async fn advance(&mut self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        for id in self.model.advance(seconds) {
            let place = self.held.iter().position(|(held, _)| *held == id).unwrap();
            self.stale.push(self.held.remove(place).1);
        }
        // Leases lapse when the broker next looks.
        drop(self.broker.stats().await.unwrap());
    }

    async fn reopen(&mut self, crash: bool) {
        let Some((broker, directory)) = self.sqlite.take() else { return };
        if crash {
            broker.abandon().await
        } else {
            broker.close().await.unwrap()
        }
        self.model.reopen(crash);
        self.stale.extend(self.held.drain(..).map(|(_, delivery)| delivery));
        let (broker, queue) = open(&directory, &self.clock).await;
        (self.broker, self.queue) = (Arc::clone(&broker) as Arc<dyn Broker>, queue);
        self.sqlite = Some((broker, directory));
    }

    async fn compare(&self, step: &Step) {
        // Leases lapse, messages expire and counters count at the end of a transaction: the second look sees the first's.
        drop(self.broker.stats().await.unwrap());
        let stats = self.broker.stats().await.unwrap();
        let of = |queue: &str| stats.iter().find(|stats| stats.queue == queue).cloned().unwrap_or_default();
        let work = of("work");
        let out = of("out");
        let told = QueueStats { oldest: None, oldest_due: None, ..work };
        assert_eq!(told, self.model.stats(), "after {step:?}: {:?}", self.model);
        assert_eq!(out.ready, self.model.forwarded(), "what was acked with an outbox, and nothing else, is out");
    }

    /// Ends everything: what is left is delivered and acked, and then nothing is left.
    async fn drain(&mut self) {
        while let Some((id, delivery)) = self.held.pop() {
            delivery.lease.ack(vec![]).await.unwrap();
            self.model.ack(id, false);
        }
        while self.model.is_waiting() {
            self.pull(3).await;
            while let Some((id, delivery)) = self.held.pop() {
                delivery.lease.ack(vec![]).await.unwrap();
                self.model.ack(id, false);
            }
            self.advance(5).await;
            self.compare(&Step::Advance(5)).await;
        }
        tokio::time::timeout(Duration::from_secs(20), self.queue.drained()).await.unwrap().unwrap();
        let stats = self.model.stats();
        assert_eq!((stats.ready, stats.delayed, stats.leased), (0, 0, 0));
    }
}

async fn open(directory: &tempfile::TempDir, clock: &Clock) -> (Arc<SqliteBroker>, Arc<dyn Queue>) {
    let options = SqliteOptions { clock: Some(clock.clone()), ..SqliteOptions::default() };
    let broker = SqliteBroker::open(&directory.path().join("queue.db"), options).await.unwrap();
    let queue = broker.queue(QueueSpec::new("work")).await.unwrap();
    (broker, queue)
}

fn taken<T>(from: &mut Vec<T>, number: usize) -> Option<T> {
    let count = from.len();
    (count > 0).then(|| from.swap_remove(number % count))
}

fn name(id: Id) -> String {
    format!("id {id}")
}

fn body(id: Id) -> Vec<u8> {
    (0..=255).cycle().skip(id).take(id * 7 % 300).collect()
}

fn publication(id: Id, key: Option<u8>, delay: u64, ttl: Option<u64>) -> Publication {
    Publication {
        id: Some(name(id)),
        key: key.map(|key| format!("key {key}")),
        delay: Duration::from_secs(delay),
        ttl: ttl.map(Duration::from_secs),
        ..Publication::new("work", Attributes::new(), body(id))
    }
}

fn attempt(delivery: &Delivery) -> Attempt {
    Attempt {
        number: delivery.deliveries,
        started_at: delivery.published_at,
        duration: Duration::ZERO,
        verdict: AttemptVerdict::Nack,
        delay: None,
        reason: Reason::Failed,
        error: "no".into(),
    }
}

fn against_the_model(steps: Vec<Step>, pair: impl AsyncFnOnce() -> Pair) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut pair = pair().await;
        pair.run(steps).await;
        pair.broker.close().await.unwrap();
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_broker_in_memory_does_what_the_model_does(steps in proptest::collection::vec(step(), 1..60)) {
        against_the_model(steps, Pair::memory);
    }

    #[test]
    fn the_embedded_queue_does_what_the_model_does(steps in proptest::collection::vec(step(), 1..60)) {
        against_the_model(steps, Pair::sqlite);
    }
}
