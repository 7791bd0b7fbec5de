//! Leases, with what happens to them noted, and with calls that are late, fail, or are done twice.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::sleep;
use wasmpost_delivery::{BrokerError, BrokerErrorKind, Evidence, Lease, Nack, Renewer};
use wasmpost_msg::Publication;

use crate::faulty::{fault, unknown};
use crate::history::{How, Outcome, What};
use crate::plan::Fault;
use crate::world::{Life, World};

pub struct FaultyLease {
    inner: Option<Box<dyn Lease>>,
    about: About,
}

/// The owner of a lease.
#[derive(Clone)]
struct About {
    lease: usize,
    id: String,
    world: Arc<World>,
    life: Life,
}

struct FaultyRenewer {
    inner: Arc<dyn Renewer>,
    about: About,
}

impl FaultyLease {
    pub fn new(inner: Box<dyn Lease>, lease: usize, id: String, world: Arc<World>, life: Life) -> Self {
        Self { inner: Some(inner), about: About { lease, id, world, life } }
    }

    async fn settle<T>(&mut self, how: How, settle: impl FnOnce(Box<dyn Lease>) -> T) -> Result<(), BrokerError>
    where
        T: Future<Output = Result<(), BrokerError>>,
    {
        let About { lease, id, world, life } = self.about.clone();
        let fault = fault(&world, "settle", &id);
        if let Fault::LateCall(late) = fault {
            life.does(sleep(late)).await;
        }
        // Nothing that comes after the end of a process reaches the broker.
        life.does(async {}).await;
        let Some(inner) = self.inner.take() else { return Err(unknown()) };
        let is_ack = matches!(how, How::Ack { .. });
        world.note(What::Settling { lease, how });
        if fault == Fault::Lost {
            // The broker never hears of it: neither of settling nor of giving back.
            std::mem::forget(inner);
            world.note(What::Settled { lease, outcome: Outcome::Failed });
            return Err(unknown());
        }
        let result = life.does(settle(inner)).await;
        world.note(What::Settled { lease, outcome: outcome(&result) });
        if is_ack && result.is_ok() {
            world.acked(lease);
        }
        match fault {
            Fault::LateAnswer(late) => life.does(sleep(late)).await,
            Fault::Unknown => return Err(unknown()),
            _ => {}
        }
        result
    }
}

fn outcome(result: &Result<(), BrokerError>) -> Outcome {
    match result.as_ref().map_err(BrokerError::kind) {
        Ok(()) => Outcome::Done,
        Err(BrokerErrorKind::Stale) => Outcome::Stale,
        Err(BrokerErrorKind::Closed) => Outcome::Closed,
        Err(_) => Outcome::Failed,
    }
}

#[async_trait]
impl Lease for FaultyLease {
    fn renewer(&self) -> Arc<dyn Renewer> {
        let inner = self.inner.as_ref().expect("a lease is settled once").renewer();
        Arc::new(FaultyRenewer { inner, about: self.about.clone() })
    }

    fn begin(&self) -> Result<(), BrokerError> {
        let About { lease, world, life, .. } = &self.about;
        let inner = self.inner.as_ref().expect("a lease is settled once");
        // Nothing that comes after the end of a process reaches the broker.
        if !life.is_over() {
            inner.begin()?;
            world.note(What::Begun { lease: *lease });
        }
        Ok(())
    }

    async fn ack(mut self: Box<Self>, outbox: Vec<Publication>) -> Result<(), BrokerError> {
        self.settle(How::Ack { published: outbox.len() }, |lease| lease.ack(outbox)).await
    }

    async fn nack(mut self: Box<Self>, nack: Nack) -> Result<(), BrokerError> {
        let how = How::Nack { delay: nack.delay, counted: nack.attempt.is_some() };
        self.settle(how, |lease| lease.nack(nack)).await
    }

    async fn reject(mut self: Box<Self>, evidence: Evidence) -> Result<(), BrokerError> {
        self.settle(How::Reject, |lease| lease.reject(evidence)).await
    }
}

impl Drop for FaultyLease {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take() else { return };
        let About { lease, world, life, .. } = &self.about;
        if life.is_over() {
            // A process that ended gives nothing back.
            std::mem::forget(inner);
            return;
        }
        world.note(What::Settling { lease: *lease, how: How::Drop });
        drop(inner);
        world.note(What::Settled { lease: *lease, outcome: Outcome::Done });
    }
}

#[async_trait]
impl Renewer for FaultyRenewer {
    async fn renew(&self) -> Result<(), BrokerError> {
        let About { lease, id, world, life } = &self.about;
        let fault = fault(world, "renew", id);
        if let Fault::LateCall(late) = fault {
            life.does(sleep(late)).await;
        }
        life.does(async {}).await;
        if fault == Fault::Lost {
            return Err(unknown());
        }
        world.note(What::Renewing { lease: *lease });
        let mut result = life.does(self.inner.renew()).await;
        if fault == Fault::Twice {
            result = life.does(self.inner.renew()).await;
        }
        if result.is_ok() {
            world.note(What::Renewed { lease: *lease });
        }
        match fault {
            Fault::LateAnswer(late) => life.does(sleep(late)).await,
            Fault::Unknown => return Err(unknown()),
            _ => {}
        }
        result
    }
}
