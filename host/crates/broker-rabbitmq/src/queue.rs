//! A queue as its callers see it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::{CancellationToken, DropGuard};
use wasmpost_delivery::{BrokerError, Delivery, Queue, QueueSpec};

use crate::error::closed;
use crate::feed::Feed;
use crate::hub::Hub;
use crate::{lease, names, stats, sweep};

/// How often it is looked whether a queue is drained, and how often it must have been so in a row: what comes back from a
/// delay is counted nowhere for a moment.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS: usize = 4;
const LOOK_MAX: Duration = Duration::from_secs(1);

pub(crate) struct RabbitQueue {
    feed: Arc<Feed>,
    name: String,
    lease: Duration,
    _ends: DropGuard,
}

impl RabbitQueue {
    /// Starts to serve a queue that is declared.
    pub(crate) fn start(hub: &Arc<Hub>, spec: QueueSpec, kept: Vec<String>) -> Self {
        let ended = hub.link.closed().child_token();
        let name = spec.name.clone();
        let lease = spec.lease;
        let feed = Arc::new(Feed::new(Arc::clone(hub), spec));
        tokio::spawn(Arc::clone(&feed).drive(ended.clone()));
        if !kept.is_empty() {
            let again = sweep::again(Arc::clone(hub), name.clone(), kept);
            tokio::spawn(CancellationToken::run_until_cancelled_owned(ended.clone(), again));
        }
        Self { feed, name, lease, _ends: ended.drop_guard() }
    }

    async fn is_drained(&self) -> Result<bool, BrokerError> {
        if self.feed.tally().lock().out > 0 {
            return Ok(false);
        }
        let hub = self.feed.hub();
        let mut counter = stats::Counter::new(&hub.link);
        if counter.ready(names::work(&self.name)).await? > 0 {
            return Ok(false);
        }
        let catalogue = hub.read_catalogue().await?;
        for delay in catalogue.queues.get(&self.name).iter().flat_map(|entry| entry.delays()) {
            if counter.ready(names::delay(&self.name, delay)).await? > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[async_trait]
impl Queue for RabbitQueue {
    fn name(&self) -> &str {
        &self.name
    }

    fn lease(&self) -> Duration {
        self.lease
    }

    async fn pull(&self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        let pulled = self.feed.pull(max).await?;
        Ok(pulled.into_iter().map(|incoming| lease::delivery(&self.feed, incoming)).collect())
    }

    /// Sees what is ready and delayed at the broker and what this process has, not what other hosts have in flight.
    async fn drained(&self) -> Result<(), BrokerError> {
        let mut looks = 0;
        let mut pause = LOOK;
        let closing = self.feed.hub().link.closed();
        while looks < LOOKS {
            (looks, pause) = match self.is_drained().await {
                Ok(true) => (looks + 1, LOOK),
                Ok(false) => (0, (pause * 2).min(LOOK_MAX)),
                Err(error) if error.passes() => (0, LOOK_MAX),
                Err(error) => return Err(error),
            };
            if tokio::time::timeout(pause, closing.cancelled()).await.is_ok() {
                return Err(closed());
            }
        }
        Ok(())
    }
}
