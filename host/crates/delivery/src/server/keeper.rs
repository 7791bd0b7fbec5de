//! The lease keeper: renews the leases of all deliveries in flight, in one task.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{BrokerErrorKind, Delivery, Renewer};

/// How long one renewal may take.
const RENEW_TIMEOUT: Duration = Duration::from_secs(5);

/// Renews leases until they are settled. Its task ends when the last handle to it is dropped.
pub(super) struct Keeper {
    kept: Mutex<Leases>,
    _ends: DropGuard,
}

#[derive(Default)]
struct Leases {
    next: u64,
    by_number: BTreeMap<u64, Lease>,
}

#[derive(Clone)]
struct Lease {
    renewer: Arc<dyn Renewer>,
    lost: CancellationToken,
}

/// Keeps one lease until it is dropped.
pub(super) struct Kept {
    keeper: Arc<Keeper>,
    number: u64,
}

impl Keeper {
    /// Starts the task, which renews every `period`.
    pub(super) fn start(period: Duration) -> Arc<Self> {
        let end = CancellationToken::new();
        let keeper = Arc::new(Self { kept: Mutex::default(), _ends: end.clone().drop_guard() });
        let weak = Arc::downgrade(&keeper);
        tokio::spawn(end.run_until_cancelled_owned(run(weak, period.max(Duration::from_millis(1)))));
        keeper
    }

    /// Keeps the lease of `delivery`; when it is lost nevertheless, `lost` is cancelled.
    pub(super) fn keep(self: &Arc<Self>, delivery: &Delivery, lost: &CancellationToken) -> Kept {
        let lease = Lease { renewer: delivery.lease.renewer(), lost: lost.clone() };
        let mut kept = self.kept.lock();
        kept.next += 1;
        let number = kept.next;
        kept.by_number.insert(number, lease);
        Kept { keeper: Arc::clone(self), number }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeper.kept.lock().by_number.remove(&self.number);
    }
}

async fn run(keeper: Weak<Keeper>, period: Duration) {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let Some(keeper) = keeper.upgrade() else { return };
        let leases: Vec<Lease> = keeper.kept.lock().by_number.values().cloned().collect();
        // The handle is not held while renewing, or it would keep itself alive.
        drop(keeper);
        futures::future::join_all(leases.iter().map(renew)).await;
    }
}

async fn renew(lease: &Lease) {
    match tokio::time::timeout(RENEW_TIMEOUT, lease.renewer.renew()).await {
        Ok(Err(error)) if error.kind() == BrokerErrorKind::Stale => lease.lost.cancel(),
        // The next round tries again; there are two more before the lease lapses.
        Ok(Err(error)) => tracing::warn!(%error, "lease could not be renewed"),
        Err(_) => tracing::warn!("renewing a lease took too long"),
        Ok(Ok(())) => {}
    }
}
