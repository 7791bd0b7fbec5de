//! Keeping the leases of a batch: each until its own message is settled.

use std::pin::pin;
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::keeper::{Keeper, Kept, Lease};

/// The leases of the messages of a batch, by their places in it.
pub(super) struct Keeping {
    keeper: Arc<Keeper>,
    leases: Mutex<Vec<Held>>,
}

/// A lease of a batch.
enum Held {
    /// Nobody had to wait yet.
    Idle(Lease),
    /// It is being renewed.
    Kept { _kept: Kept },
    /// Its message was settled.
    Over,
}

impl Keeping {
    pub(super) fn new(keeper: &Arc<Keeper>, leases: impl Iterator<Item = Lease>) -> Self {
        Self { keeper: Arc::clone(keeper), leases: Mutex::new(leases.map(Held::Idle).collect()) }
    }

    /// The message in this place was settled.
    pub(super) fn end(&self, place: usize) {
        let over = self.leases.lock().get_mut(place).map(|held| std::mem::replace(held, Held::Over));
        drop(over);
    }

    /// Polls a future to its end, and keeps the leases meanwhile. Nothing is noted down before the future first has to
    /// wait.
    pub(super) async fn keep_while<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let mut is_kept = false;
        std::future::poll_fn(|context| {
            let polled = future.as_mut().poll(context);
            if polled.is_pending() && !is_kept {
                is_kept = true;
                self.keep();
            }
            polled
        })
        .await
    }

    fn keep(&self) {
        for held in self.leases.lock().iter_mut() {
            if let Held::Idle(Lease { renewer, delivery }) = held {
                let kept = self.keeper.keep(Arc::clone(renewer), delivery.clone());
                *held = Held::Kept { _kept: kept };
            }
        }
    }
}
