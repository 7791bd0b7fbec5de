//! The lease keeper: renews the leases of all deliveries, those that wait for a thread as well, in one task.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};
use wasmpost_msg::{Context, Reason, chain};

use crate::error::BrokerErrorKind;
use crate::lease::Renewer;

/// How long one renewal may take.
const RENEW_TIMEOUT: Duration = Duration::from_secs(5);

/// Renews leases until they are settled. Its task ends when the last handle to it is dropped.
pub(super) struct Keeper {
    kept: Mutex<Leases>,
    waiting: OnceLock<Weak<dyn Waiting>>,
    /// Says that there is a lease.
    begun: Arc<Notify>,
    interrupt: CancellationToken,
    _ends: DropGuard,
}

#[derive(Default)]
struct Leases {
    next: u64,
    by_number: BTreeMap<u64, Lease>,
}

/// Deliveries that were leased and did not begin yet.
pub(super) trait Waiting: Send + Sync {
    /// Their leases, and whom to tell when one is lost.
    fn leases(&self) -> Vec<Lease>;

    /// Whether there are none.
    fn is_empty(&self) -> bool;
}

#[derive(Clone)]
pub(super) struct Lease {
    pub(super) renewer: Arc<dyn Renewer>,
    pub(super) delivery: Context,
}

/// Keeps one lease until it is dropped.
pub(super) struct Kept {
    keeper: Arc<Keeper>,
    number: u64,
}

impl Keeper {
    /// Starts the task, which renews every `period`. After an `interrupt` all deliveries are cancelled.
    pub(super) fn start(period: Duration, interrupt: CancellationToken) -> Arc<Self> {
        let end = CancellationToken::new();
        let ends = end.clone().drop_guard();
        let begun = Arc::new(Notify::new());
        let keeper = Arc::new(Self {
            kept: Mutex::default(),
            waiting: OnceLock::new(),
            begun: Arc::clone(&begun),
            interrupt: interrupt.clone(),
            _ends: ends,
        });
        let weak = Arc::downgrade(&keeper);
        let period = period.max(Duration::from_millis(1));
        tokio::spawn(end.run_until_cancelled_owned(async move {
            interrupt.run_until_cancelled(run(weak.clone(), begun, period)).await;
            if let Some(keeper) = weak.upgrade() {
                keeper.kept.lock().by_number.values().for_each(|lease| lease.delivery.cancel(Reason::Shutdown));
            }
        }));
        keeper
    }

    /// Keeps the leases of these deliveries until they begin.
    pub(super) fn watch(&self, waiting: Weak<dyn Waiting>) {
        // A server has one backlog.
        let _ = self.waiting.set(waiting);
    }

    /// Says that there are deliveries that wait to begin.
    pub(super) fn wake(&self) {
        self.begun.notify_one();
    }

    fn waiting(&self) -> Option<Arc<dyn Waiting>> {
        self.waiting.get().and_then(Weak::upgrade)
    }

    fn is_idle(&self) -> bool {
        let is_kept = !self.kept.lock().by_number.is_empty();
        !is_kept && self.waiting().is_none_or(|waiting| waiting.is_empty())
    }

    /// Keeps a lease by its renewer; when it is lost nevertheless, its delivery is cancelled.
    pub(super) fn keep(self: &Arc<Self>, renewer: Arc<dyn Renewer>, delivery: Context) -> Kept {
        let mut kept = self.kept.lock();
        kept.next += 1;
        let number = kept.next;
        kept.by_number.insert(number, Lease { renewer, delivery: delivery.clone() });
        drop(kept);
        self.begun.notify_one();
        // Either this sees the interrupt, or the task sees the lease when it is interrupted.
        if self.interrupt.is_cancelled() {
            delivery.cancel(Reason::Shutdown);
        }
        Kept { keeper: Arc::clone(self), number }
    }

    /// Polls a future to its end, and keeps the lease meanwhile. Nothing is noted down before the future first has to
    /// wait: most are done at once.
    pub(super) async fn keep_while<F: Future>(
        self: &Arc<Self>,
        renewer: Arc<dyn Renewer>,
        delivery: &Context,
        future: F,
    ) -> F::Output {
        let mut future = pin!(future);
        let mut kept = None;
        std::future::poll_fn(|context| {
            let polled = future.as_mut().poll(context);
            if polled.is_pending() && kept.is_none() {
                kept = Some(self.keep(Arc::clone(&renewer), delivery.clone()));
            }
            polled
        })
        .await
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeper.kept.lock().by_number.remove(&self.number);
    }
}

async fn run(keeper: Weak<Keeper>, begun: Arc<Notify>, period: Duration) {
    loop {
        if keeper.upgrade().is_none_or(|keeper| keeper.is_idle()) {
            // Nobody wakes while there is nothing to renew. The first lease is renewed a period after it began.
            begun.notified().await;
        }
        tokio::time::sleep(period).await;
        let Some(keeper) = keeper.upgrade() else { return };
        // One that begins in between is renewed twice rather than never.
        let mut leases = keeper.waiting().map_or_else(Vec::new, |waiting| waiting.leases());
        leases.extend(keeper.kept.lock().by_number.values().cloned());
        // The handle is not held while renewing, or it would keep itself alive.
        drop(keeper);
        futures::future::join_all(leases.iter().map(renew)).await;
    }
}

async fn renew(lease: &Lease) {
    // One that was cancelled may need a while to end.
    if lease.delivery.cancelled().is_cancelled() {
        return;
    }
    match tokio::time::timeout(RENEW_TIMEOUT, lease.renewer.renew()).await {
        Ok(Err(error)) if error.kind() == BrokerErrorKind::Stale => {
            tracing::warn!(id = lease.delivery.id(), "lease was lost; the delivery is cancelled");
            lease.delivery.cancel(Reason::LeaseExpired);
        }
        // The next round tries again; there are two more before the lease lapses.
        Ok(Err(error)) => {
            tracing::warn!(id = lease.delivery.id(), error = %chain(&error), "lease could not be renewed")
        }
        Err(_) => tracing::warn!(id = lease.delivery.id(), "renewing a lease took too long"),
        Ok(Ok(())) => {}
    }
}
