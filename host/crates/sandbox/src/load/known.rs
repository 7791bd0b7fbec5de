//! Components that are loaded now, by their content: the same one under another name takes no memory again.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::Loaded;

/// The SHA-256 digest of a file.
pub(super) type Digest = [u8; 32];

/// The components that are loaded, for as long as they are in use.
#[derive(Default)]
pub(crate) struct Known(Mutex<HashMap<Digest, Weak<Loaded>>>);

impl Known {
    pub(super) fn find(&self, digest: &Digest) -> Option<Arc<Loaded>> {
        self.0.lock().get(digest).and_then(Weak::upgrade)
    }

    pub(super) fn add(&self, digest: Digest, loaded: &Arc<Loaded>) {
        let mut known = self.0.lock();
        // Those that nobody has any more go whenever there are twice as many as the last time.
        if known.len().is_power_of_two() {
            known.retain(|_, loaded| loaded.strong_count() > 0);
        }
        known.insert(digest, Arc::downgrade(loaded));
    }
}
