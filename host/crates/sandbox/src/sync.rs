//! The primitives by which threads synchronise, named in one place: a test replaces them with primitives whose order it
//! decides.

pub(crate) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

pub(crate) use parking_lot::Mutex;
pub(crate) use tokio::sync::{OwnedSemaphorePermit, Semaphore};
