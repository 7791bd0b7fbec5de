//! A broker between a process and the real one: it notes what happens, and has calls be late, fail, or be done twice.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;
use wasmpost_delivery::{BrokerError, BrokerErrorKind, Delivery, Queue, Receipt};
use wasmpost_msg::Publication;

use crate::faulty_lease::FaultyLease;
use crate::history::{Taken, What};
use crate::plan::Fault;
use crate::world::{Life, World};

/// A queue of the broker under test, as one process has it.
pub struct FaultyQueue {
    pub inner: Arc<dyn Queue>,
    pub world: Arc<World>,
    pub life: Life,
}

/// The error of a call whose fate the caller does not know.
pub fn unknown() -> BrokerError {
    BrokerError::new(BrokerErrorKind::Unavailable, "nobody knows")
}

/// The fault that the plan gives to a call, while anything may fail.
pub fn fault(world: &World, what: &str, id: &str) -> Fault {
    let number = world.count(what, id);
    if world.is_calm() { Fault::None } else { world.plan.fault(what, id, number) }
}

/// Publishes as one who talks to a broker over a line on which calls are late, lost, or done twice.
pub async fn publish(
    world: &World,
    life: &Life,
    broker: &dyn wasmpost_delivery::Broker,
    publication: Publication,
) -> Result<Vec<Receipt>, BrokerError> {
    let id = publication.id.clone().unwrap_or_default();
    let fault = fault(world, "publish", &id);
    if let Fault::LateCall(late) = fault {
        sleep(late).await;
    }
    if fault == Fault::Lost {
        return Err(unknown());
    }
    let publishing = broker.publish(vec![publication.clone()]);
    // An answer that was sent before the process ended still arrives.
    let result = tokio::select! {
        biased;
        result = publishing => result,
        () = async { life.over().await; tokio::task::yield_now().await } => Err(unknown()),
    };
    match fault {
        Fault::LateAnswer(late) => sleep(late).await,
        Fault::Twice => drop(broker.publish(vec![publication]).await),
        Fault::Unknown => return Err(unknown()),
        _ => {}
    }
    result
}

impl FaultyQueue {
    fn taken(&self, delivery: Delivery) -> Delivery {
        let lease = self.world.lease();
        let message = Publication {
            topic: delivery.topic.clone(),
            attributes: delivery.attributes.clone(),
            body: delivery.body.clone(),
            key: delivery.key.clone(),
            hops: delivery.hops,
            ..Publication::default()
        };
        let queue = self.inner.name().to_owned();
        let id = delivery.id.clone();
        let lasts = self.inner.lease();
        let deliveries = delivery.deliveries;
        let failures = delivery.failures;
        self.world.note(What::Leased(Taken { lease, queue, message, id, deliveries, failures, lasts }));
        let id = format!("{} {}", self.inner.name(), delivery.id);
        let world = Arc::clone(&self.world);
        let life = self.life.clone();
        let faulty = FaultyLease::new(delivery.lease, lease, id, world, life);
        // The receiver is told its lease, so that what it does can be told of it.
        let mut attributes = delivery.attributes;
        attributes.set("Lease", lease.to_string());
        Delivery { attributes, lease: Box::new(faulty), ..delivery }
    }
}

#[async_trait]
impl Queue for FaultyQueue {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn lease(&self) -> Duration {
        self.inner.lease()
    }

    async fn pull(&self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        let fault = fault(&self.world, "pull", self.inner.name());
        match fault {
            Fault::LateCall(late) => sleep(late).await,
            Fault::Lost => return Err(unknown()),
            _ => {}
        }
        let pulled = self.life.does(self.inner.pull(max)).await?;
        let deliveries: Vec<_> = pulled.into_iter().map(|delivery| self.taken(delivery)).collect();
        match fault {
            Fault::LateAnswer(late) => sleep(late).await,
            // Nobody gets them: they are dropped, and so given back.
            Fault::Unknown => return Err(unknown()),
            _ => {}
        }
        Ok(deliveries)
    }

    fn pull_now(&self, max: usize) -> Vec<Delivery> {
        // A process that has ended does nothing any more, and it may end while it pulls.
        if self.life.is_over() {
            return Vec::new();
        }
        let pulled = self.inner.pull_now(max);
        if self.life.is_over() {
            return Vec::new();
        }
        pulled.into_iter().map(|delivery| self.taken(delivery)).collect()
    }

    fn room(&self, publications: &[Publication]) -> Result<(), BrokerError> {
        self.inner.room(publications)
    }

    async fn drained(&self) -> Result<(), BrokerError> {
        self.life.does(self.inner.drained()).await
    }
}
