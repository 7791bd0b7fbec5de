//! Measures the CPU time of a call: the time for which its future is being polled.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// How long a future was polled so far. What it waits for is not counted; what its thread is kept from working is.
#[derive(Debug)]
pub(crate) struct Meter {
    start: Instant,
    /// Nanoseconds of finished polls.
    spent: AtomicU64,
    /// When the running poll began, in nanoseconds after `start`.
    since: AtomicU64,
}

/// A future whose polls are measured.
pub(crate) struct Metered<F> {
    meter: Arc<Meter>,
    future: F,
}

impl Meter {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), spent: AtomicU64::new(0), since: AtomicU64::new(0) })
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// The time from the making of the meter until now.
    pub(crate) fn wall(&self) -> Duration {
        self.start.elapsed()
    }

    /// The time of all finished polls.
    pub(crate) fn spent(&self) -> Duration {
        Duration::from_nanos(self.spent.load(Ordering::Relaxed))
    }

    /// The time of all polls, the running one included. Only to be asked from within a poll.
    pub(crate) fn spent_within_poll(&self) -> Duration {
        let running = self.now().saturating_sub(self.since.load(Ordering::Relaxed));
        self.spent() + Duration::from_nanos(running)
    }

    pub(crate) fn measure<F: Future + Unpin>(self: &Arc<Self>, future: F) -> Metered<F> {
        Metered { meter: Arc::clone(self), future }
    }
}

impl<F: Future + Unpin> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let began = self.meter.now();
        self.meter.since.store(began, Ordering::Relaxed);
        let polled = Pin::new(&mut self.future).poll(context);
        self.meter.spent.fetch_add(self.meter.now() - began, Ordering::Relaxed);
        polled
    }
}
