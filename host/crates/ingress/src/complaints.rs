//! Complaints: faults that senders cause again and again, told in the log a few times only.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How often a fault is told at most.
const EVERY: Duration = Duration::from_secs(30);

/// Faults of one kind.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Mutex<(u64, Option<Instant>)>);

impl Complaints {
    /// Counts one. Gives how many there were since the last that was told, if this one is to be told.
    pub(crate) fn add(&self) -> Option<u64> {
        let mut since = self.0.lock();
        since.0 += 1;
        let now = Instant::now();
        if since.1.is_some_and(|told| now.duration_since(told) < EVERY) {
            return None;
        }
        since.1 = Some(now);
        Some(std::mem::take(&mut since.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_is_told_and_then_a_sum_now_and_then() {
        let complaints = Complaints::default();
        assert_eq!((complaints.add(), complaints.add(), complaints.add()), (Some(1), None, None));
        tokio::time::advance(EVERY).await;
        assert_eq!((complaints.add(), complaints.add()), (Some(3), None));
    }
}
