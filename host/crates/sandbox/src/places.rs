//! Places for instances, as many as the pool has, and the instances that wait in theirs for another message.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Store;
use wasmtime::component::Instance;

use crate::limiter::MemoryBudget;
use crate::state::StoreState;

/// A place for one instance, and what is in it. It is dropped before the place is free.
pub(crate) struct Place {
    pub(crate) live: Option<Live>,
    _permit: OwnedSemaphorePermit,
}

/// A store, with its instance once that was made.
pub(crate) struct Live {
    pub(crate) store: Store<StoreState>,
    pub(crate) instance: Option<Instance>,
    /// How many messages it processed.
    pub(crate) used: u32,
}

/// All places of a sandbox. Who finds none waits, instead of being refused by the pool.
pub(crate) struct Places {
    permits: Arc<Semaphore>,
    /// How many wait for a place: while some do, no instance is kept.
    waiting: AtomicUsize,
    /// Instances between messages with the number of their receiver, the one that waits longest first.
    idle: Mutex<VecDeque<(u64, Place)>>,
}

impl Places {
    pub(crate) fn new(places: u32) -> Self {
        let permits = Arc::new(Semaphore::new(places.max(1) as usize));
        Self { permits, waiting: AtomicUsize::new(0), idle: Mutex::default() }
    }

    /// The place of an instance that waits for a message of this receiver.
    pub(crate) fn warm(&self, receiver: u64) -> Option<Place> {
        let mut idle = self.idle.lock();
        let at = idle.iter().rposition(|(of, _)| *of == receiver)?;
        idle.remove(at).map(|(_, place)| place)
    }

    /// An empty place, if there is one, or one that an idle instance gives up.
    pub(crate) fn free(&self) -> Option<Place> {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.evict(|_| true);
                Arc::clone(&self.permits).try_acquire_owned().ok()?
            }
        };
        Some(Place { live: None, _permit: permit })
    }

    /// An empty place once there is one. None if there will never be one, which does not happen.
    pub(crate) async fn wait(&self) -> Option<Place> {
        let waiting = Waiting::new(&self.waiting);
        // What became idle between the first look and the counting would be missed by both sides.
        self.evict(|_| true);
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        drop(waiting);
        Some(Place { live: None, _permit: permit })
    }

    /// Keeps an instance for the next message of its receiver, unless somebody waits for its place.
    pub(crate) fn keep(&self, receiver: u64, place: Place) {
        let mut idle = self.idle.lock();
        // Asked under the lock that evicting takes: whoever counts as waiting later finds it.
        if self.waiting.load(Ordering::SeqCst) == 0 {
            idle.push_back((receiver, place));
        } else {
            drop(idle);
            drop(place);
        }
    }

    /// Ends all idle instances of a receiver.
    pub(crate) fn forget(&self, receiver: u64) {
        while self.warm(receiver).is_some() {}
    }

    /// Ends all idle instances that hold memory of a budget which is used up.
    pub(crate) fn free_memory(&self, budget: &Arc<MemoryBudget>) {
        let holds = |place: &Place| {
            let shared = place.live.as_ref().map(|live| &live.store.data().shared);
            shared.and_then(|shared| shared.memory.as_ref()).is_some_and(|held| Arc::ptr_eq(held, budget))
        };
        while self.evict(holds) {}
    }

    /// Ends the longest idle instance of those meant. The lock is not held while it ends.
    fn evict(&self, is_meant: impl Fn(&Place) -> bool) -> bool {
        let mut idle = self.idle.lock();
        let at = idle.iter().position(|(_, place)| is_meant(place));
        let evicted = at.and_then(|at| idle.remove(at));
        drop(idle);
        evicted.is_some()
    }
}

/// One that waits, however its waiting ends.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
