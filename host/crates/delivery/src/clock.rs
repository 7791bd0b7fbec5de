//! The clock that due times are told by: it never steps back, and tests can set it forward.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::timestamp::Timestamp;

/// A clock that starts at the wall clock and then follows the monotonic one, so that a wall clock that is set back or
/// forward while the process runs neither delays nor hastens a redelivery. Clones are one clock.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use wasmpost_delivery::Clock;
///
/// let clock = Clock::manual();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now().since(before), Duration::from_secs(60));
/// ```
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
        let ahead = AtomicU64::new(0);
        let listeners = Mutex::default();
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
