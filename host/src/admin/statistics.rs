//! The numbers of messages at a broker, asked for once for all who want to know.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use wasmpost_delivery::{Broker, BrokerError, BrokerErrorKind, Clock, QueueStats, Timestamp};
use wasmpost_msg::chain;

/// How old numbers may be that are shown, at least; those that took long to count may be older by as much as this many times.
const FRESH: Duration = Duration::from_millis(500);
const FRESH_TIMES: u32 = 10;
/// How long the counting may take.
const COUNT_MAX: Duration = Duration::from_secs(30);
/// How long somebody waits for new numbers while there are old ones, and how old these may be.
const PATIENCE: Duration = Duration::from_millis(100);
const STALE_MAX: Duration = Duration::from_secs(60);
/// How long somebody waits where there are none.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);

/// The numbers of a broker at a time.
#[derive(Debug)]
pub(super) struct Numbers {
    /// The queues by name, or the reason why they could not be counted.
    pub(super) queues: Result<Vec<QueueStats>, String>,
    /// When they were counted, by the clock of messages.
    pub(super) at: Timestamp,
    counted: Instant,
    /// How long counting took.
    pub(super) took: Duration,
}

/// The numbers of a broker as they were last, and the counting.
#[derive(Clone)]
pub(super) struct Statistics(Arc<Shared>);

struct Shared {
    broker: Arc<dyn Broker>,
    clock: Clock,
    last: Mutex<Option<Arc<Numbers>>>,
    /// Held by whoever counts.
    counting: tokio::sync::Mutex<()>,
}

impl Statistics {
    pub(super) fn new(broker: Arc<dyn Broker>) -> Self {
        let counting = tokio::sync::Mutex::new(());
        Self(Arc::new(Shared { broker, clock: Clock::system(), last: Mutex::new(None), counting }))
    }

    /// The numbers: new ones, or those of a moment ago where counting takes long.
    pub(super) async fn numbers(&self) -> Result<Arc<Numbers>, BrokerError> {
        let last = self.0.last.lock().clone();
        if let Some(fresh) = last.clone().filter(|last| last.is_fresh()) {
            return Ok(fresh);
        }
        let old = last.filter(|last| last.counted.elapsed() < STALE_MAX);
        let patience = if old.is_some() { PATIENCE } else { FIRST_PATIENCE };
        // The counting goes on when somebody stops waiting: others wait for it.
        let shared = Arc::clone(&self.0);
        let counted = tokio::time::timeout(patience, tokio::spawn(async move { shared.count().await })).await;
        match (counted, old) {
            (Ok(Ok(numbers)), _) => Ok(numbers),
            (_, Some(old)) => Ok(old),
            (_, None) => {
                let text = format!("the broker did not count its messages within {patience:?}");
                Err(BrokerError::new(BrokerErrorKind::Unavailable, text))
            }
        }
    }
}

impl Shared {
    async fn count(&self) -> Arc<Numbers> {
        let _counting = self.counting.lock().await;
        if let Some(fresh) = self.last.lock().clone().filter(|last| last.is_fresh()) {
            return fresh;
        }
        let began = Instant::now();
        let at = self.clock.now();
        let queues = match tokio::time::timeout(COUNT_MAX, self.broker.stats()).await {
            Ok(Ok(queues)) => Ok(queues),
            Ok(Err(error)) => Err(chain(&error).to_string()),
            Err(_) => Err(format!("the broker did not answer within {COUNT_MAX:?}")),
        };
        let numbers = Arc::new(Numbers { queues, at, counted: Instant::now(), took: began.elapsed() });
        *self.last.lock() = Some(Arc::clone(&numbers));
        numbers
    }
}

impl Numbers {
    /// None, for this reason.
    pub(super) fn failed(fault: String) -> Self {
        let took = Duration::ZERO;
        Self { queues: Err(fault), at: Clock::system().now(), counted: Instant::now(), took }
    }

    fn is_fresh(&self) -> bool {
        self.counted.elapsed() < FRESH.max(self.took * FRESH_TIMES)
    }

    /// The queues, or an error where they could not be counted.
    pub(super) fn queues(&self) -> Result<&[QueueStats], BrokerError> {
        let away = |text: &String| BrokerError::new(BrokerErrorKind::Unavailable, text.clone());
        self.queues.as_deref().map_err(away)
    }
}

#[cfg(test)]
mod tests {
    use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn numbers_are_counted_again_once_they_are_old() {
        let broker = MemoryBroker::new(MemoryOptions::default());
        let statistics = Statistics::new(Arc::new(broker.clone()));
        let first = statistics.numbers().await.unwrap();
        assert!(Arc::ptr_eq(&first, &statistics.numbers().await.unwrap()));
        tokio::time::advance(2 * FRESH).await;
        let second = statistics.numbers().await.unwrap();
        assert!(!Arc::ptr_eq(&first, &second) && second.queues().is_ok());
        broker.close().await.unwrap();
        tokio::time::advance(2 * FRESH).await;
        assert!(statistics.numbers().await.unwrap().queues().is_err(), "what cannot be counted is said");
    }
}
