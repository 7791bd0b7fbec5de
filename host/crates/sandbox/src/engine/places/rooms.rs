//! Places, as many as the pool has, whatever is in them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::sync::{AtomicUsize, Mutex, Ordering, OwnedSemaphorePermit, Semaphore};

/// A place for one instance, and what is in it. It is dropped before the place is free.
pub(crate) struct Place<L> {
    pub(crate) live: Option<L>,
    _permit: OwnedSemaphorePermit,
}

/// All places of a sandbox. A delivery that finds none waits, instead of being refused by the pool.
pub(crate) struct Places<L> {
    permits: Arc<Semaphore>,
    /// How many wait for a place: while some do, no instance is kept.
    waiting: AtomicUsize,
    /// Instances between messages with the number of their receiver, the one that waits longest first.
    idle: Mutex<VecDeque<(u64, Place<L>)>>,
}

impl<L> Places<L> {
    pub(crate) fn new(places: u32) -> Self {
        let permits = Arc::new(Semaphore::new(places.max(1) as usize));
        Self { permits, waiting: AtomicUsize::new(0), idle: Mutex::new(VecDeque::new()) }
    }

    /// The place of an instance that waits for a message of this receiver.
    pub(crate) fn warm(&self, receiver: u64) -> Option<Place<L>> {
        let mut idle = self.idle.lock();
        let at = idle.iter().rposition(|(of, _)| *of == receiver)?;
        idle.remove(at).map(|(_, place)| place)
    }

    /// An empty place, if there is one, or one that an idle instance gives up.
    pub(crate) fn free(&self) -> Option<Place<L>> {
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
    pub(crate) async fn wait(&self) -> Option<Place<L>> {
        let waiting = Waiting::new(&self.waiting);
        // An instance that became idle between the first look and the counting would be missed by both sides.
        self.evict(|_| true);
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        drop(waiting);
        Some(Place { live: None, _permit: permit })
    }

    /// How many places are free, and how many deliveries wait for one.
    pub(crate) fn load(&self) -> (usize, usize) {
        (self.permits.available_permits(), self.waiting.load(Ordering::SeqCst))
    }

    /// Keeps an instance for the next message of its receiver, unless somebody waits for its place.
    pub(crate) fn keep(&self, receiver: u64, place: Place<L>) {
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

    /// Ends the longest idle instance of those meant. The lock is not held while it ends.
    pub(crate) fn evict(&self, is_meant: impl Fn(&Place<L>) -> bool) -> bool {
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
