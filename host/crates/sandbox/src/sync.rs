//! What threads meet in, named in one place: a test compiles the code that uses it against primitives whose order it
//! decides.

pub(crate) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

pub(crate) use parking_lot::Mutex;
pub(crate) use tokio::sync::{OwnedSemaphorePermit, Semaphore};
