//! The clock that interrupts guests: a thread that advances the epoch while calls are under way, and sleeps otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use wasmtime::EngineWeak;

/// How often the epoch advances.
pub(crate) const TICK: Duration = Duration::from_millis(1);
/// After so many ticks without a call the thread sleeps until there is one. Waking it costs more than some ticks do.
const IDLE_TICKS: u32 = 64;

/// Advances the epoch from a thread of its own, which guests cannot keep from running.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// The engines of asynchronous components, beside the first.
    more: Mutex<Vec<EngineWeak>>,
    /// Calls that are under way.
    running: AtomicUsize,
    is_asleep: AtomicBool,
    has_ended: AtomicBool,
}

/// A call under way, however it ends.
pub(crate) struct Running<'a>(&'a Shared);

impl Ticker {
    pub(crate) fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ticking = Arc::clone(&shared);
        let more = Arc::clone(&shared);
        let advance = move || {
            more.more.lock().iter().filter_map(EngineWeak::upgrade).for_each(|engine| engine.increment_epoch());
            engine.upgrade().map(|engine| engine.increment_epoch()).is_some()
        };
        let thread = std::thread::Builder::new().name("wasmpost-epoch".into());
        let thread = thread.spawn(move || ticking.run(advance))?;
        Ok(Self { shared, thread })
    }

    /// Has the epoch of one more engine advance.
    pub(crate) fn tick(&self, engine: EngineWeak) {
        self.shared.more.lock().push(engine);
    }

    /// Has the epoch advance for as long as what is returned lives.
    pub(crate) fn running(&self) -> Running<'_> {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        // Either this sees that the thread sleeps, or the thread sees the call before it does.
        if self.shared.is_asleep.load(Ordering::SeqCst) {
            self.thread.thread().unpark();
        }
        Running(&self.shared)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    fn run(&self, advance: impl Fn() -> bool) {
        let mut idle = 0;
        while !self.has_ended.load(Ordering::SeqCst) {
            std::thread::sleep(TICK);
            if !advance() {
                return;
            }
            idle = if self.running.load(Ordering::SeqCst) > 0 { 0 } else { idle + 1 };
            if idle >= IDLE_TICKS {
                self.sleep();
                idle = 0;
            }
        }
    }

    fn sleep(&self) {
        self.is_asleep.store(true, Ordering::SeqCst);
        while self.running.load(Ordering::SeqCst) == 0 && !self.has_ended.load(Ordering::SeqCst) {
            std::thread::park();
        }
        self.is_asleep.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A ticker that counts instead of advancing an engine.
    fn counting() -> (Ticker, Arc<AtomicU64>) {
        let shared = Arc::new(Shared::default());
        let count = Arc::new(AtomicU64::new(0));
        let ticking = Arc::clone(&shared);
        let counted = Arc::clone(&count);
        let advance = move || counted.fetch_add(1, Ordering::SeqCst) < u64::MAX;
        let thread = std::thread::spawn(move || ticking.run(advance));
        (Ticker { shared, thread }, count)
    }

    #[track_caller]
    fn wait_until(what: &str, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < PATIENCE, "{what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn nothing_ticks_while_no_guest_runs() {
        let (ticker, count) = counting();
        wait_until("it never slept", || ticker.shared.is_asleep.load(Ordering::SeqCst));
        let asleep = count.load(Ordering::SeqCst);
        std::thread::sleep(20 * TICK);
        assert_eq!(count.load(Ordering::SeqCst), asleep);
    }

    #[test]
    fn a_call_wakes_it_for_as_long_as_it_lasts() {
        let (ticker, count) = counting();
        for _ in 0..3 {
            wait_until("it never slept", || ticker.shared.is_asleep.load(Ordering::SeqCst));
            let asleep = count.load(Ordering::SeqCst);
            let running = ticker.running();
            wait_until("it slept on", || count.load(Ordering::SeqCst) > asleep + 2 * u64::from(IDLE_TICKS));
            drop(running);
        }
    }

    #[test]
    fn its_thread_ends_with_it() {
        let (ticker, count) = counting();
        wait_until("it never slept", || ticker.shared.is_asleep.load(Ordering::SeqCst));
        drop(ticker);
        wait_until("the thread holds what it advances", || Arc::strong_count(&count) == 1);
    }
}
