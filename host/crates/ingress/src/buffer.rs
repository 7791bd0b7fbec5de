//! The memory for bodies that arrive: a bound over all connections of a listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The memory that bodies may take together.
#[derive(Debug)]
pub(crate) struct Buffers {
    bytes_max: usize,
    bytes: AtomicUsize,
}

/// The memory of one body, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    all: Arc<Buffers>,
    bytes: usize,
}

impl Buffers {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, bytes: AtomicUsize::new(0) })
    }

    /// The memory of a body that has no bytes yet.
    pub(crate) fn begin(self: &Arc<Self>) -> Buffer {
        Buffer { all: Arc::clone(self), bytes: 0 }
    }
}

impl Buffer {
    /// Adds bytes. Says whether there was room.
    pub(crate) fn add(&mut self, bytes: usize) -> bool {
        let all = self.all.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        self.bytes += bytes;
        all <= self.all.bytes_max
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.all.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_share_a_bound_and_give_their_memory_back() {
        let all = Buffers::new(10);
        let mut one = all.begin();
        let mut other = all.begin();
        assert!(one.add(6) && other.add(4) && !other.add(1));
        drop(other);
        assert!(one.add(4) && !all.begin().add(1));
        drop(one);
        assert!(all.begin().add(10));
    }
}
