//! The primitives that the product is compiled against here: each operation is a point at which another thread may go on.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

pub(crate) use shuttle::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::{AcquireError, TryAcquireError};
pub(crate) use tokio::sync::{OwnedSemaphorePermit, SemaphorePermit};

pub(crate) mod thread {
    //! Threads of the scheduler.

    pub(crate) use shuttle::thread::{Builder, yield_now};

    /// All threads are equal here.
    pub(crate) fn lower_priority(_: i32) {}
}

/// A lock with the interface of the one that the product uses.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

/// A lock that is held.
pub(crate) struct MutexGuard<'a, T>(Option<shuttle::sync::MutexGuard<'a, T>>);

/// A condition with the interface of the one that the product uses.
#[derive(Debug, Default)]
pub(crate) struct Condvar(shuttle::sync::Condvar);

/// A semaphore whose operations are points at which another thread may go on.
#[derive(Debug)]
pub(crate) struct Semaphore(Arc<tokio::sync::Semaphore>);

/// A runtime that has no timers.
#[derive(Clone)]
pub(crate) struct Handle;

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().unwrap()))
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().unwrap()
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().unwrap()
    }
}

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let held = guard.0.take().unwrap();
        guard.0 = Some(self.0.wait(held).unwrap());
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

impl Semaphore {
    pub(crate) const MAX_PERMITS: usize = tokio::sync::Semaphore::MAX_PERMITS;

    pub(crate) fn new(permits: usize) -> Self {
        Self(Arc::new(tokio::sync::Semaphore::new(permits)))
    }

    pub(crate) fn available_permits(&self) -> usize {
        thread::yield_now();
        self.0.available_permits()
    }

    pub(crate) async fn acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        thread::yield_now();
        self.0.acquire().await
    }

    pub(crate) async fn acquire_owned(self: Arc<Self>) -> Result<OwnedSemaphorePermit, AcquireError> {
        thread::yield_now();
        Arc::clone(&self.0).acquire_owned().await
    }

    pub(crate) fn try_acquire_owned(self: Arc<Self>) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        thread::yield_now();
        Arc::clone(&self.0).try_acquire_owned()
    }
}

/// That the runtime was entered.
pub(crate) struct Entered;

impl Handle {
    pub(crate) fn enter(&self) -> Entered {
        Entered
    }
}
