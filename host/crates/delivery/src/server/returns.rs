//! How often messages were given back uncounted: what never ends waits longer each time.

use std::collections::HashMap;

use parking_lot::Mutex;

/// How many messages are remembered. Others wait as long as after their first return.
const REMEMBERED_MAX: usize = 16 * 1024;

/// How often each message was given back since it last failed, by id.
#[derive(Debug, Default)]
pub(super) struct Returns(Mutex<HashMap<String, u32>>);

impl Returns {
    /// How often a message was given back.
    pub(super) fn of(&self, id: &str) -> u32 {
        self.0.lock().get(id).copied().unwrap_or(0)
    }

    /// A message was given back again.
    pub(super) fn count(&self, id: &str) {
        let mut returns = self.0.lock();
        if let Some(count) = returns.get_mut(id) {
            *count = count.saturating_add(1);
            return;
        }
        if returns.len() >= REMEMBERED_MAX {
            // Those that came back once most likely ended meanwhile, in another process perhaps.
            returns.retain(|_, count| *count > 1);
        }
        if returns.len() < REMEMBERED_MAX {
            returns.insert(id.to_owned(), 1);
        }
    }

    /// A message ended, or failed.
    pub(super) fn forget(&self, id: &str) {
        let mut returns = self.0.lock();
        if !returns.is_empty() {
            returns.remove(id);
        }
    }

    /// How many messages were given back and neither ended nor failed since, as far as they are remembered.
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_ended_begins_anew() {
        let returns = Returns::default();
        (0..3).for_each(|_| returns.count("a"));
        assert_eq!((returns.of("a"), returns.of("b"), returns.len()), (3, 0, 1));
        returns.forget("a");
        assert_eq!((returns.of("a"), returns.len()), (0, 0));
    }

    #[test]
    fn not_more_is_remembered_than_there_is_room_for() {
        let returns = Returns::default();
        (0..2).for_each(|_| returns.count("a"));
        (0..2 * REMEMBERED_MAX).for_each(|id| returns.count(&id.to_string()));
        assert!(returns.len() <= REMEMBERED_MAX);
        assert_eq!(returns.of("a"), 2, "those that come back time and again are remembered");
        (0..2 * REMEMBERED_MAX).for_each(|id| (0..2).for_each(|_| returns.count(&format!("again {id}"))));
        assert_eq!(returns.len(), REMEMBERED_MAX, "though all of them come back");
    }
}
