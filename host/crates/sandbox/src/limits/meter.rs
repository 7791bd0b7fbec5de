//! Measures the CPU time of a call: what its thread uses while the call's future is being polled. Beside it the work of
//! the host is counted, which is the same on every machine.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The CPU time that the polls of a future took, without the time that it waits.
///
/// Most calls are one poll of some microseconds, which asking the system for CPU time would make noticeably longer: the
/// first poll is measured by the wall, and no guest runs longer than a tick of the epoch in it. Of a call that is polled
/// again the time is counted in which its thread had a processor, however busy the machine is.
#[derive(Debug)]
pub(crate) struct Meter {
    start: Instant,
    /// Nanoseconds of finished polls.
    spent: AtomicU64,
    /// When the running poll began, in nanoseconds by the clock that it is measured with.
    since: AtomicU64,
    /// Whether polls are measured by CPU time.
    by_cpu: AtomicBool,
}

/// A future whose polls are measured.
pub(crate) struct Metered<F> {
    meter: Arc<Meter>,
    future: F,
}

/// Counts the work of the host in the calls of one delivery: each call, and each byte and element of a list that it takes
/// from the guest or hands to it. Time is measured; this tells what the time was used for.
#[derive(Debug, Default)]
pub(crate) struct Work(AtomicU64);

impl Work {
    /// Counts a call that takes and hands out so many bytes and elements.
    pub(crate) fn call(&self, amount: usize) {
        self.add(amount.saturating_add(1));
    }

    /// Counts bytes and elements beside a call.
    pub(crate) fn add(&self, amount: usize) {
        self.0.fetch_add(amount as u64, Ordering::Relaxed);
    }

    /// The count so far.
    pub(crate) fn done(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Begins with the next delivery.
    pub(crate) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl Meter {
    pub(crate) fn new() -> Arc<Self> {
        Self::measuring(false)
    }

    /// One that measures the first poll by CPU time as well: several messages pay for it, and none of them for a busy
    /// machine.
    pub(crate) fn of_several() -> Arc<Self> {
        Self::measuring(true)
    }

    fn measuring(by_cpu: bool) -> Arc<Self> {
        let spent = AtomicU64::new(0);
        let since = AtomicU64::new(0);
        let by_cpu = AtomicBool::new(by_cpu);
        Arc::new(Self { start: Instant::now(), spent, since, by_cpu })
    }

    /// The time by the clock that polls are measured with at the moment.
    fn now(&self) -> u64 {
        if self.by_cpu.load(Ordering::Relaxed) {
            return thread_time().as_nanos() as u64;
        }
        self.start.elapsed().as_nanos() as u64
    }

    /// The time from the making of the meter until now.
    pub(crate) fn wall(&self) -> Duration {
        self.start.elapsed()
    }

    /// The time of all finished polls, and of work beside them.
    pub(crate) fn spent(&self) -> Duration {
        Duration::from_nanos(self.spent.load(Ordering::Relaxed))
    }

    /// The time of all polls, the running one included. Only to be asked from within a poll.
    pub(crate) fn spent_within_poll(&self) -> Duration {
        let running = self.now().saturating_sub(self.since.load(Ordering::Relaxed));
        self.spent() + Duration::from_nanos(running)
    }

    /// Adds what was done elsewhere for the call.
    pub(crate) fn charge(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.spent.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    pub(crate) fn measure<F: Future + Unpin>(self: &Arc<Self>, future: F) -> Metered<F> {
        Metered { meter: Arc::clone(self), future }
    }
}

/// A future of the host that works for a call beside it, and ends with nothing once the call's CPU time is used up.
pub(crate) struct Charged<F> {
    meter: Arc<Meter>,
    budget: Duration,
    future: Pin<Box<F>>,
}

impl<F: Future> Charged<F> {
    pub(crate) fn new(meter: Arc<Meter>, budget: Duration, future: F) -> Self {
        Self { meter, budget, future: Box::pin(future) }
    }
}

impl<F: Future> Future for Charged<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.meter.spent() >= self.budget {
            return Poll::Ready(None);
        }
        let began = thread_time();
        let polled = self.future.as_mut().poll(context);
        self.meter.charge(thread_time().saturating_sub(began));
        polled.map(Some)
    }
}

/// The CPU time of this thread.
fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

impl<F: Future + Unpin> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let began = self.meter.now();
        self.meter.since.store(began, Ordering::Relaxed);
        let polled = Pin::new(&mut self.future).poll(context);
        self.meter.spent.fetch_add(self.meter.now().saturating_sub(began), Ordering::Relaxed);
        // A poll begins and ends on one thread, the next may be on another.
        self.meter.by_cpu.store(true, Ordering::Relaxed);
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll_once(meter: &Arc<Meter>, work: impl Fn()) {
        let future = std::pin::pin!(async { work() });
        let mut metered = std::pin::pin!(meter.measure(future));
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(metered.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn a_thread_that_has_no_processor_uses_none_of_the_time_of_its_guest() {
        let meter = Meter::new();
        poll_once(&meter, || ());
        let before = meter.spent();
        // Asleep, the thread is without a processor as surely as on a busy machine.
        poll_once(&meter, || std::thread::sleep(Duration::from_millis(20)));
        assert!(meter.spent() - before < Duration::from_millis(10), "{:?}", meter.spent());
    }

    #[test]
    fn several_messages_pay_for_no_time_without_a_processor_from_the_first_poll_on() {
        let meter = Meter::of_several();
        poll_once(&meter, || std::thread::sleep(Duration::from_millis(20)));
        assert!(meter.spent() < Duration::from_millis(10), "{:?}", meter.spent());
    }

    #[test]
    fn a_thread_that_works_uses_the_time_of_its_guest() {
        let meter = Meter::new();
        poll_once(&meter, || ());
        let before = meter.spent();
        poll_once(&meter, || work(Duration::from_millis(5)));
        assert!(meter.spent() - before >= Duration::from_millis(5), "{:?}", meter.spent());
    }

    fn work(time: Duration) {
        let began = thread_time();
        while thread_time() - began < time {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn work_beside_a_call_is_paid_by_it_and_ends_with_its_budget() {
        let meter = Meter::new();
        let step = Duration::from_millis(2);
        let endless = std::future::poll_fn(|_| {
            work(step);
            Poll::<()>::Pending
        });
        let mut charged = std::pin::pin!(Charged::new(Arc::clone(&meter), 3 * step, endless));
        let mut context = Context::from_waker(std::task::Waker::noop());
        let polls = (1..100).find(|_| charged.as_mut().poll(&mut context) == Poll::Ready(None));
        assert!(polls.is_some_and(|polls| polls <= 4), "{polls:?}");
        assert!(meter.spent() >= 3 * step);
    }
}
