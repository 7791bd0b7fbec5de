//! The world that processes live in: it keeps the history, and decides when one ends.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wasmpost_delivery::Timestamp;
use wasmpost_delivery::prove::{Break, Hook, Point};

use crate::history::{Event, Running, Time, What};
use crate::plan::{End, Kind, Plan};

/// When the wall clock said that the simulation began.
const BEGAN: u64 = 1_800_000_000_000;

/// Why what passes a point goes no further: the process ended there.
pub struct Ended(pub Point);

/// Everything outside of the processes.
pub struct World {
    pub plan: Plan,
    began: Instant,
    state: Mutex<State>,
}

struct State {
    events: Vec<Event>,
    leases: usize,
    calls: BTreeMap<String, usize>,
    /// How far the wall clock is set.
    wall: i64,
    is_calm: bool,
    life: Life,
    end: Option<End>,
    commit_failed: bool,
    /// How often power was cut: the machine has started once more since.
    cuts: u8,
    /// Leases whose acknowledgements are not on disk yet.
    acked: Vec<usize>,
    running: BTreeMap<&'static str, usize>,
}

/// One process, from its start to its end. Clones are one process.
#[derive(Clone)]
pub struct Life(CancellationToken);

/// A receiver that runs.
pub struct Runs {
    world: Arc<World>,
    life: Life,
    receiver: &'static str,
}

impl World {
    pub fn new(plan: Plan) -> Arc<Self> {
        let state = State {
            events: Vec::new(),
            leases: 0,
            calls: BTreeMap::new(),
            wall: 0,
            is_calm: false,
            life: Life(CancellationToken::new()),
            end: None,
            commit_failed: false,
            cuts: 0,
            acked: Vec::new(),
            running: BTreeMap::new(),
        };
        Arc::new(Self { plan, began: Instant::now(), state: Mutex::new(state) })
    }

    pub fn now(&self) -> Time {
        self.began.elapsed().as_millis() as Time
    }

    pub fn note(&self, what: What) {
        let at = self.now();
        self.state.lock().events.push(Event { at, what });
    }

    pub fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.state.lock().events)
    }

    /// The number of the next lease.
    pub fn lease(&self) -> usize {
        let mut state = self.state.lock();
        state.leases += 1;
        state.leases
    }

    /// How often something was done to something before.
    pub fn count(&self, what: &str, id: &str) -> usize {
        let mut state = self.state.lock();
        let calls = state.calls.entry(format!("{what} {id}")).or_default();
        *calls += 1;
        *calls
    }

    pub fn is_calm(&self) -> bool {
        self.state.lock().is_calm
    }

    /// From now on nothing fails.
    pub fn calm(&self) {
        self.state.lock().is_calm = true;
        self.note(What::Calm);
    }

    pub fn set_wall(&self, by: i64) {
        self.state.lock().wall = by;
    }

    pub fn wall(&self) -> i64 {
        self.state.lock().wall
    }

    /// Begins a process.
    pub fn begin(&self) -> Life {
        let mut state = self.state.lock();
        state.life = Life(CancellationToken::new());
        (state.end, state.commit_failed) = (None, false);
        state.running.clear();
        state.acked.clear();
        state.life.clone()
    }

    /// Has the process end as told.
    pub fn arm(&self, end: End) {
        self.state.lock().end = Some(end);
    }

    /// Whether a commit of this process failed.
    pub fn commit_failed(&self) -> bool {
        self.state.lock().commit_failed
    }

    /// Something was acknowledged, and will be on disk with the next commit.
    pub fn acked(&self, lease: usize) {
        self.state.lock().acked.push(lease);
        if self.plan.kind == Kind::Memory {
            self.durable();
        }
    }

    /// Notes that earlier acknowledgements are on disk.
    pub fn durable(&self) {
        let acked = std::mem::take(&mut self.state.lock().acked);
        acked.into_iter().for_each(|lease| self.note(What::Durable { lease }));
    }

    /// Ends the process that runs, without any order.
    pub fn crash(&self, at: Option<Point>) {
        let life = self.state.lock().life.clone();
        if !life.is_over() {
            life.0.cancel();
            self.note(What::Crashed { at: at.map(Point::name), frees: self.plan.kind == Kind::Sqlite });
        }
    }

    /// Power is cut, and with it all that was not synchronised may be lost.
    pub fn cut_power(&self) {
        self.state.lock().cuts += 1;
        self.note(What::PowerCut);
    }

    /// A receiver begins to run.
    pub fn run(self: &Arc<Self>, life: &Life, receiver: &'static str) -> (Runs, Running) {
        let mut state = self.state.lock();
        *state.running.entry(receiver).or_default() += 1;
        let running = Running {
            of_receiver: state.running.get(receiver).copied().unwrap_or_default(),
            of_receiver_max: self.plan.concurrency,
            of_share: state.running.values().sum(),
            of_share_max: self.plan.share,
        };
        (Runs { world: Arc::clone(self), life: life.clone(), receiver }, running)
    }

    /// How many receivers run.
    pub fn running(&self) -> usize {
        self.state.lock().running.values().sum()
    }

    fn is_last(&self, is_meant: impl Fn(&mut End) -> bool) -> bool {
        let mut state = self.state.lock();
        let is_last = state.end.as_mut().is_some_and(is_meant);
        if is_last {
            state.end = None;
        }
        is_last
    }
}

impl Life {
    pub fn is_over(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits for the end.
    pub async fn over(&self) {
        self.0.cancelled().await;
    }

    /// The same for what goes on after the end.
    pub async fn unless_over<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.0.run_until_cancelled(future).await
    }

    /// Does something, if the process does not end before. Nothing comes after the end.
    pub async fn does<T>(&self, future: impl Future<Output = T>) -> T {
        match self.0.run_until_cancelled(future).await {
            Some(done) if !self.is_over() => done,
            _ => std::future::pending().await,
        }
    }

    /// Ends it in order: nothing that still holds a lease gives it back any more.
    pub fn end(&self) {
        self.0.cancel();
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        if !self.life.is_over()
            && let Some(count) = self.world.state.lock().running.get_mut(self.receiver)
        {
            *count -= 1;
        }
    }
}

/// The hook of the thread that the world is on.
pub struct Watch(pub Arc<World>);

impl Hook for Watch {
    fn pass(&self, point: Point) {
        let is_last = self.0.is_last(|end| match end {
            End::At(at, times) if *at == point => {
                *times -= 1;
                *times == 0
            }
            _ => false,
        });
        if is_last {
            self.0.crash(Some(point));
            resume_unwind(Box::new(Ended(point)));
        }
    }

    fn commit_fails(&self) -> bool {
        let fails = self.0.is_last(|end| match end {
            End::CommitFails(times) => {
                *times -= 1;
                *times == 0
            }
            _ => false,
        });
        if fails {
            self.0.state.lock().commit_failed = true;
            self.0.note(What::CommitFailed);
        }
        fails
    }

    fn wall(&self) -> Timestamp {
        let wall = self.0.state.lock().wall;
        let elapsed = self.0.began.elapsed();
        Timestamp(BEGAN.saturating_add_signed(wall) + Duration::as_millis(&elapsed) as u64)
    }

    fn boot(&self) -> [u8; 16] {
        [self.0.state.lock().cuts; 16]
    }

    fn is_broken(&self, by: Break) -> bool {
        self.0.plan.broken == Some(by)
    }
}
