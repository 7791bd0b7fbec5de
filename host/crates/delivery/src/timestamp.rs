//! Points in time, as messages and stores have them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A point in time: milliseconds since 1970-01-01 00:00 UTC.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use wasmpost_delivery::Timestamp;
///
/// let second = Timestamp(1_000);
/// assert_eq!(second.after(Duration::from_micros(1)), Timestamp(1_001), "rounded up");
/// assert_eq!(second.since(Timestamp(2_000)), Duration::ZERO);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The time `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        // Rounded up, so that nothing falls due before its time.
        let millis = duration.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// The time from `earlier` to this, zero if that lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        // Times beyond what the system can tell are shown as its last second of the year 9999.
        UNIX_EPOCH + Duration::from_millis(timestamp.0.min(253_402_300_799_000))
    }
}
