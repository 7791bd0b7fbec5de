//! The primitives by which threads synchronise, named in one place: a test replaces them with primitives whose order it
//! decides.

pub(crate) use parking_lot::{Condvar, Mutex};
pub(crate) use tokio::runtime::Handle;
pub(crate) use tokio::sync::{Semaphore, SemaphorePermit};

pub(crate) mod thread {
    //! Threads of the system.

    pub(crate) use std::thread::{Builder, yield_now};

    /// Lowers the priority of the thread that asks, on systems that let it.
    pub(crate) fn lower_priority(by: i32) {
        // A system that lets nobody lower his priority polls all the same.
        let _ = rustix::process::nice(by);
    }
}
