//! The clock that due times are told by: it never steps back, and tests can set it forward.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// A point in time: milliseconds since 1970-01-01 00:00 UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// A clock that starts at the wall clock and then follows the monotonic one, so that a wall clock that is set back or
/// forward while the process runs neither delays nor hastens a redelivery. Clones are one clock.
#[derive(Clone)]
pub struct Clock(Arc<Shared>);

type Listener = Box<dyn Fn() + Send + Sync>;

struct Shared {
    start: Timestamp,
    started: Instant,
    /// Milliseconds that the clock was set forward, and whether it moves only when set.
    ahead: AtomicU64,
    manual: bool,
    listeners: Mutex<Vec<Listener>>,
}

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

impl Clock {
    /// A clock that runs.
    pub fn system() -> Self {
        Self::starting_at(wall_now())
    }

    /// A clock that runs and starts at `start` or at the wall clock, whichever is later. A store passes the last time
    /// that it knows, so that a wall clock that was set back between two runs delays nothing.
    pub fn not_before(start: Timestamp) -> Self {
        Self::starting_at(wall_now().max(start))
    }

    /// A clock that stands still until it is [advanced](Self::advance): for tests.
    pub fn manual() -> Self {
        Self::build(wall_now(), true)
    }

    fn starting_at(start: Timestamp) -> Self {
        Self::build(start, false)
    }

    fn build(start: Timestamp, manual: bool) -> Self {
        let (ahead, listeners) = (AtomicU64::new(0), Mutex::default());
        Self(Arc::new(Shared { start, started: Instant::now(), ahead, manual, listeners }))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        let elapsed = if self.0.manual { 0 } else { self.0.started.elapsed().as_millis() as u64 };
        Timestamp(self.0.start.0 + elapsed + self.0.ahead.load(Ordering::Acquire))
    }

    /// Sets the clock forward and wakes those who wait for a time.
    pub fn advance(&self, duration: Duration) {
        self.0.ahead.fetch_add(duration.as_millis() as u64, Ordering::AcqRel);
        self.0.listeners.lock().iter().for_each(|listener| listener());
    }

    /// Calls `listener` whenever the clock was set forward.
    pub fn on_advance(&self, listener: impl Fn() + Send + Sync + 'static) {
        if self.0.manual {
            self.0.listeners.lock().push(Box::new(listener));
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Clock({:?})", self.now())
    }
}

fn wall_now() -> Timestamp {
    if let Some(wall) = crate::prove::wall() {
        return wall;
    }
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64))
}
