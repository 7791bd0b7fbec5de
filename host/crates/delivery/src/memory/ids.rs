//! Ids that publishers gave, to recognise a second publication.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::forgotten::ForgottenIds;
use crate::timestamp::Timestamp;

/// A topic and an id.
type Given = Arc<(String, String)>;

/// The ids that were published lately.
pub(super) struct Ids {
    /// Until when each is remembered, and the same by time.
    seen: HashMap<Given, Timestamp>,
    by_time: BTreeSet<(Timestamp, Given)>,
    window: Duration,
    max: usize,
    forgotten: ForgottenIds,
}

impl Ids {
    /// None yet; each is remembered for `window`, and at most `max` at a time.
    pub(super) fn new(window: Duration, max: usize) -> Self {
        Self { seen: HashMap::new(), by_time: BTreeSet::new(), window, max, forgotten: ForgottenIds::default() }
    }

    /// Takes note of an id on a topic; says whether it was not known.
    pub(super) fn first_seen(&mut self, topic: &str, id: &str, now: Timestamp) -> bool {
        while let Some((_, given)) = self.by_time.first().filter(|(until, _)| *until <= now).cloned() {
            self.forget_one(&given);
        }
        let given = Arc::new((topic.to_owned(), id.to_owned()));
        if self.seen.contains_key(&given) {
            return false;
        }
        let until = now.after(self.window);
        self.by_time.insert((until, Arc::clone(&given)));
        self.seen.insert(given, until);
        self.keep_bound(now);
        true
    }

    /// Forgets the id of a message that was published at a time, unless a later one has it.
    pub(super) fn forget(&mut self, topic: &str, id: &str, published_at: Timestamp) {
        let given = Arc::new((topic.to_owned(), id.to_owned()));
        if self.seen.get(&given).is_some_and(|until| *until <= published_at.after(self.window)) {
            self.forget_one(&given);
        }
    }

    fn forget_one(&mut self, given: &Given) {
        if let Some((given, until)) = self.seen.remove_entry(given) {
            self.by_time.remove(&(until, given));
        }
    }

    /// Forgets the oldest beyond the bound, and tells of it now and then.
    fn keep_bound(&mut self, now: Timestamp) {
        let mut forgotten = 0;
        while self.seen.len() > self.max
            && let Some((_, oldest)) = self.by_time.first().cloned()
        {
            self.forget_one(&oldest);
            forgotten += 1;
        }
        self.forgotten.add(forgotten, self.max, now);
    }
}
