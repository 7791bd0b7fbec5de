//! Ids that were forgotten before their time: counted, and told now and then.

use std::time::Duration;

use crate::timestamp::Timestamp;

/// How often at most it is told.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// How many ids were forgotten before their time and not told yet.
///
/// # Examples
///
/// ```
/// use wasmpost_delivery::{ForgottenIds, IDS_MAX, Timestamp};
///
/// // Logs a warning now, and the next one a minute later at the earliest.
/// let mut forgotten = ForgottenIds::default();
/// forgotten.add(3, IDS_MAX, Timestamp(0));
/// forgotten.add(5, IDS_MAX, Timestamp(1));
/// ```
#[derive(Debug, Default)]
pub struct ForgottenIds {
    count: u64,
    told: Option<Timestamp>,
}

impl ForgottenIds {
    /// Counts more of them, and tells in the log how many there were, unless it just did. `max` is how many ids are
    /// remembered.
    pub fn add(&mut self, more: u64, max: usize, now: Timestamp) {
        self.count += more;
        if self.count == 0 || self.told.is_some_and(|told| now.since(told) < TOLD_EVERY) {
            return;
        }
        let forgotten = std::mem::take(&mut self.count);
        tracing::warn!(forgotten, max, "ids were forgotten before their time; more are published than are remembered");
        self.told = Some(now);
    }
}
