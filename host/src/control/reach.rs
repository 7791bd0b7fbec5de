//! The way to a queue file that several processes use: through the host that has it, or by itself when its turn comes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use uuid::Uuid;
use wasmpost_delivery::{
    Broker, BrokerError, BrokerErrorKind, Capabilities, DeadLetter, DeadLetterFilter, DeadLetters, Listed, Queue,
    QueueSpec, QueueStats, Receipt, TenantQuota,
};
use wasmpost_msg::{Publication, chain};

use super::client::{Missed, RemoteBroker};
use super::protocol::Request;
use super::socket_path;
use crate::registry::Address;

/// How long a process waits for its turn at a queue file.
const TURN_PATIENCE: Duration = Duration::from_secs(30);
/// How often those who wait look whether a host answers by now.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The way in which a process reached a queue file.
pub enum Reached {
    /// The queue file itself, which no other process has.
    File(Arc<dyn Broker>),
    /// The host that has it.
    Host(Arc<RemoteBroker>),
}

/// Reaches a queue file: through a host that has it, or by opening it when those who came before are done with it. A host
/// that comes to have it meanwhile is found as well.
pub async fn reach(address: &Address, file: &Path) -> Result<Reached, BrokerError> {
    reach_within(TURN_PATIENCE, address, file).await
}

async fn reach_within(patience: Duration, address: &Address, file: &Path) -> Result<Reached, BrokerError> {
    let mut nobody = match RemoteBroker::connect(file).await {
        Ok(host) => return Ok(Reached::Host(Arc::new(host))),
        Err(error) => error,
    };
    let mut address = address.clone();
    address.patience = patience;
    let mut opening = std::pin::pin!(address.open());
    loop {
        tokio::select! {
            biased;
            opened = &mut opening => return match opened {
                Err(error) if error.kind() == BrokerErrorKind::InUse => {
                    let context = format!("{}; no host answers at {}: {nobody}", chain(&error), socket_path(file).display());
                    Err(BrokerError::new(BrokerErrorKind::InUse, context))
                }
                opened => opened.map(Reached::File),
            },
            () = tokio::time::sleep(LOOK_EVERY) => match RemoteBroker::connect(file).await {
                Ok(host) => return Ok(Reached::Host(Arc::new(host))),
                Err(error) => nobody = error,
            },
        }
    }
}

/// A queue file as commands use it. A host that ends meanwhile is done without, if nothing is done twice by that.
pub struct SharedFile {
    address: Address,
    file: PathBuf,
    quotas: BTreeMap<String, TenantQuota>,
    reached: tokio::sync::RwLock<Reached>,
}

impl SharedFile {
    /// A queue file that a host has, and the quotas that hold where it is done without the host.
    pub fn new(
        address: Address,
        file: PathBuf,
        host: Arc<RemoteBroker>,
        quotas: BTreeMap<String, TenantQuota>,
    ) -> Self {
        Self { address, file, quotas, reached: tokio::sync::RwLock::new(Reached::Host(host)) }
    }

    /// Reaches the file anew.
    async fn reach_again(&self, patience: Duration) -> Result<(), BrokerError> {
        tokio::time::sleep(LOOK_EVERY).await;
        let reached = reach_within(patience, &self.address, &self.file).await?;
        if let Reached::File(broker) = &reached
            && self.quotas.values().any(TenantQuota::is_set)
        {
            broker.set_quotas(self.quotas.clone()).await?;
        }
        *self.reached.write().await = reached;
        Ok(())
    }

    async fn broker(&self) -> Arc<dyn Broker> {
        match &*self.reached.read().await {
            Reached::File(broker) => Arc::clone(broker),
            Reached::Host(host) => Arc::clone(host) as Arc<dyn Broker>,
        }
    }

    async fn publish_again(&self, publications: &[Publication], can_repeat: bool) -> Result<Vec<Receipt>, BrokerError> {
        let deadline = Instant::now() + TURN_PATIENCE;
        loop {
            let host = match &*self.reached.read().await {
                Reached::File(broker) => return broker.publish(publications.to_vec()).await,
                Reached::Host(host) => Arc::clone(host),
            };
            let missed = match host.try_publish(publications.to_vec()).await {
                Ok(receipts) => return Ok(receipts),
                Err(missed) => missed,
            };
            let passes = matches!(missed, Missed::NotSent(_)) || matches!(missed, Missed::Unanswered(_)) && can_repeat;
            let left = deadline.saturating_duration_since(Instant::now());
            if !passes || left.is_zero() {
                return Err(missed.told(&self.file, &Request::ids_of(publications)));
            }
            if self.reach_again(left).await.is_err() {
                // The user needs to know the outcome of the messages, not why the file could not be reached afterwards.
                return Err(missed.told(&self.file, &Request::ids_of(publications)));
            }
        }
    }
}

#[async_trait]
impl Broker for SharedFile {
    fn capabilities(&self) -> Capabilities {
        Capabilities::embedded()
    }

    async fn queue(&self, spec: QueueSpec) -> Result<Arc<dyn Queue>, BrokerError> {
        self.broker().await.queue(spec).await
    }

    /// A single message gets an id here if it has none, so that it can be published again where no answer comes. Messages
    /// with ids are stored once however often that is.
    async fn publish(&self, mut publications: Vec<Publication>) -> Result<Vec<Receipt>, BrokerError> {
        let mut is_new = false;
        if let [Publication { id: id @ None, .. }] = &mut publications[..]
            && matches!(*self.reached.read().await, Reached::Host(_))
        {
            (*id, is_new) = (Some(Uuid::now_v7().to_string()), true);
        }
        let can_repeat = publications.iter().all(|publication| publication.id.is_some());
        let mut receipts = self.publish_again(&publications, can_repeat).await?;
        if is_new {
            // Nobody else knew the id: the first of our own attempts stored it.
            receipts.iter_mut().for_each(|receipt| receipt.duplicate = false);
        }
        Ok(receipts)
    }

    async fn set_quotas(&self, quotas: BTreeMap<String, TenantQuota>) -> Result<(), BrokerError> {
        self.broker().await.set_quotas(quotas).await
    }

    async fn stats(&self) -> Result<Vec<QueueStats>, BrokerError> {
        self.broker().await.stats().await
    }

    fn dead_letters(&self) -> Option<&dyn DeadLetters> {
        Some(self)
    }

    async fn close(&self) -> Result<(), BrokerError> {
        self.broker().await.close().await
    }
}

fn unsupported() -> BrokerError {
    BrokerError::new(BrokerErrorKind::Unsupported, "this broker shows no dead letters")
}

#[async_trait]
impl DeadLetters for SharedFile {
    async fn list(&self, filter: &DeadLetterFilter, skip: usize, max: usize) -> Result<Vec<Listed>, BrokerError> {
        self.broker().await.dead_letters().ok_or_else(unsupported)?.list(filter, skip, max).await
    }

    async fn show(&self, filter: &DeadLetterFilter, skip: usize, max: usize) -> Result<Vec<DeadLetter>, BrokerError> {
        self.broker().await.dead_letters().ok_or_else(unsupported)?.show(filter, skip, max).await
    }

    async fn redrive(&self, filter: &DeadLetterFilter) -> Result<u64, BrokerError> {
        self.broker().await.dead_letters().ok_or_else(unsupported)?.redrive(filter).await
    }

    async fn purge(&self, filter: &DeadLetterFilter) -> Result<u64, BrokerError> {
        self.broker().await.dead_letters().ok_or_else(unsupported)?.purge(filter).await
    }
}
