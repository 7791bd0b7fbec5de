//! The resources that the servers of a tenant share: places, threads, a rate of publishing, and the sum of their usage.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use wasmpost_msg::Usage;

use crate::sync::{Mutex, Semaphore, SemaphorePermit};
use crate::threads::Lane;

/// The resources that the servers of a tenant share.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use wasmpost_delivery::{QueueServerOptions, Share, ShareUsage};
///
/// // Two servers that have eight places and a hundred publications a second together.
/// let share = Arc::new(Share::new(8, None).with_publish_rate(100));
/// let orders = QueueServerOptions { share: Some(Arc::clone(&share)), ..QueueServerOptions::default() };
/// let mails = QueueServerOptions { share: Some(Arc::clone(&share)), ..QueueServerOptions::default() };
/// # drop((orders, mails));
/// assert_eq!(share.used(), ShareUsage::default());
/// ```
#[derive(Debug)]
pub struct Share {
    slots: Semaphore,
    publishing: Option<Publishing>,
    lane: Option<Lane>,
    used: Mutex<ShareUsage>,
}

/// The sum of the resources that the deliveries of a tenant used since the host started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareUsage {
    /// Deliveries that ended, whatever became of them.
    pub deliveries: u64,
    /// Deliveries that were acknowledged.
    pub acked: u64,
    /// Deliveries that failed and counted.
    pub failed: u64,
    /// Messages that became dead letters.
    pub dead: u64,
    /// Deliveries that were given back uncounted: the host was at fault, or stopped.
    #[serde(default)]
    pub given_back: u64,
    /// CPU time; in JSON in microseconds.
    #[serde(rename = "cpu_us", with = "crate::micros")]
    pub cpu: Duration,
    /// Time from the start of each call to its end; in JSON in microseconds.
    #[serde(rename = "wall_us", with = "crate::micros")]
    pub wall: Duration,
    /// The most memory that one delivery held, in bytes.
    pub memory_peak_bytes: u64,
    /// Messages that were published.
    pub published_messages: u64,
    /// Bodies and attributes of what was published, in bytes.
    pub published_bytes: u64,
}

/// How a delivery ended, for the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Acked,
    Failed,
    Dead,
    GivenBack,
}

/// A rate at which messages may be published. Messages are paid for after they were published: no delivery fails for
/// them, but the next ones begin when the debt is paid.
#[derive(Debug)]
struct Publishing {
    per_second: f64,
    account: Mutex<Account>,
}

#[derive(Debug)]
struct Account {
    /// Messages that may be published at once; negative while too many were.
    messages: f64,
    at: Instant,
}

impl Share {
    /// A share of `concurrency` deliveries in flight. They are polled on `lane`, or where the server is if there is none.
    pub fn new(concurrency: usize, lane: Option<Lane>) -> Self {
        let slots = Semaphore::new(concurrency.clamp(1, Semaphore::MAX_PERMITS));
        Self { slots, publishing: None, lane, used: Mutex::default() }
    }

    /// The same share, with at most so many messages published a second. A second's worth can come at once.
    #[must_use]
    pub fn with_publish_rate(self, per_second: u32) -> Self {
        let per_second = f64::from(per_second.max(1));
        let account = Mutex::new(Account { messages: per_second, at: Instant::now() });
        Self { publishing: Some(Publishing { per_second, account }), ..self }
    }

    /// The sum of the resources that its deliveries used so far.
    pub fn used(&self) -> ShareUsage {
        self.used.lock().clone()
    }

    pub(crate) fn lane(&self) -> Option<&Lane> {
        self.lane.as_ref()
    }

    /// Waits until a delivery may begin. Dropping the future loses nothing.
    pub(crate) async fn enter(&self) -> Option<SemaphorePermit<'_>> {
        // No slot is held while the rate is waited for.
        while let Some(wait) = self.publishing.as_ref().and_then(Publishing::debt) {
            tokio::time::sleep(wait).await;
        }
        // Slots are never closed; if they were, the delivery would simply not wait for one.
        self.slots.acquire().await.ok()
    }

    pub(crate) fn record(&self, ending: Ending, usage: &Usage, published: usize) {
        if let Some(publishing) = self.publishing.as_ref().filter(|_| published > 0) {
            publishing.charge(published);
        }
        let mut used = self.used.lock();
        used.deliveries += 1;
        match ending {
            Ending::Acked => used.acked += 1,
            Ending::Failed => used.failed += 1,
            Ending::Dead => used.dead += 1,
            Ending::GivenBack => used.given_back += 1,
        }
        used.cpu += usage.cpu;
        used.wall += usage.wall;
        used.memory_peak_bytes = used.memory_peak_bytes.max(usage.memory_peak_bytes);
        if ending == Ending::Acked {
            used.published_messages += published as u64;
            used.published_bytes += usage.published_bytes;
        }
    }
}

impl Publishing {
    /// The time until the debt is paid, if there is one.
    fn debt(&self) -> Option<Duration> {
        let mut account = self.account.lock();
        let now = Instant::now();
        let earned = now.duration_since(account.at).as_secs_f64() * self.per_second;
        account.messages = (account.messages + earned).min(self.per_second);
        account.at = now;
        (account.messages < 0.0).then(|| Duration::from_secs_f64(-account.messages / self.per_second))
    }

    fn charge(&self, messages: usize) {
        self.account.lock().messages -= messages as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn publishing_more_than_the_rate_delays_the_deliveries_after_it() {
        let share = Share::new(1, None).with_publish_rate(10);
        share.record(Ending::Acked, &Usage::default(), 10);
        let began = Instant::now();
        drop(share.enter().await);
        assert_eq!(began.elapsed(), Duration::ZERO, "a second's worth can come at once");
        share.record(Ending::Acked, &Usage::default(), 30);
        drop(share.enter().await);
        assert_eq!(began.elapsed().as_secs(), 3, "the debt of thirty messages is paid after three seconds");
        drop(share.enter().await);
        assert_eq!(began.elapsed().as_secs(), 3);
    }

    #[test]
    fn what_deliveries_used_is_summed() {
        let share = Share::new(1, None);
        let usage = |milliseconds, memory_peak_bytes, published_bytes| Usage {
            cpu: Duration::from_millis(milliseconds),
            wall: Duration::from_millis(2 * milliseconds),
            memory_peak_bytes,
            published_bytes,
            host_work: 0,
            component: None,
        };
        share.record(Ending::Acked, &usage(1, 100, 10), 2);
        share.record(Ending::Failed, &usage(2, 300, 20), 1);
        share.record(Ending::Dead, &usage(3, 200, 0), 0);
        share.record(Ending::GivenBack, &usage(4, 0, 0), 0);
        let expected = ShareUsage {
            deliveries: 4,
            acked: 1,
            failed: 1,
            dead: 1,
            given_back: 1,
            cpu: Duration::from_millis(10),
            wall: Duration::from_millis(20),
            memory_peak_bytes: 300,
            published_messages: 2,
            published_bytes: 10,
        };
        assert_eq!(share.used(), expected);
    }
}
