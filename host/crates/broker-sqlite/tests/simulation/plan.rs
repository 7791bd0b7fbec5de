//! The plan that a seed decides: the processes, the messages, the answers of receivers, and the faults.
//!
//! Faults are drawn from the seed and from the name of what they happen to, not from a stream: what happens at one place
//! does not change what happens at another.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use wasmpost_delivery::RetryPolicy;
use wasmpost_delivery::prove::{Break, Point};

use crate::history::Answer;

/// The store under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The broker in memory, which outlives the hosts as another machine's would.
    Memory,
    /// The queue file, which ends with the host.
    Sqlite,
}

/// All that a seed decides.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub kind: Kind,
    pub broken: Option<Break>,
    pub lease: Duration,
    pub retry: RetryPolicy,
    pub timeout: Duration,
    pub concurrency: usize,
    pub share: usize,
    pub publishers: usize,
    pub messages: usize,
    pub lives: Vec<Life>,
    /// How often, of a hundred times, something fails.
    pub faults: u32,
}

/// How a process ends, and how long it takes until the next begins.
#[derive(Debug, Clone)]
pub struct Life {
    pub end: End,
    /// If nothing ended it before.
    pub lasts: Duration,
    pub down: Duration,
    /// How far the wall clock is set while it runs, in milliseconds.
    pub wall: i64,
    /// Whether power goes with it, so that what was not synchronised may be lost in part.
    pub power: bool,
}

/// The cause of the end of a process.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// The Nth time that a point is passed.
    At(Point, u32),
    /// The Nth question whether a commit fails.
    CommitFails(u32),
    /// Nothing in particular.
    Killed,
    /// An operator.
    ShutDown,
}

/// The fault of a call to a broker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    None,
    /// It is done late.
    LateCall(Duration),
    /// Its answer is late.
    LateAnswer(Duration),
    /// It is done, and the answer is an error.
    Unknown,
    /// It is not done.
    Lost,
    /// It is done twice.
    Twice,
}

impl Plan {
    pub fn of(seed: u64, kind: Kind, broken: Option<Break>) -> Self {
        let mut random = fastrand::Rng::with_seed(seed ^ 0x5eed);
        let millis = |random: &mut fastrand::Rng, range| Duration::from_millis(random.u64(range));
        let lives = (0..random.usize(1..4)).map(|_| Life::draw(&mut random, kind)).collect();
        Self {
            seed,
            kind,
            broken,
            lease: Duration::from_millis(random.u64(2..8) * 500),
            retry: RetryPolicy {
                attempts_max: random.u32(2..6),
                backoff_first: millis(&mut random, 20..1000),
                backoff_max: Duration::from_secs(4),
                retry_after_max: Duration::from_secs(6),
                ..RetryPolicy::default()
            },
            timeout: Duration::from_millis(random.u64(4..16) * 500),
            concurrency: random.usize(1..6),
            share: random.usize(1..8),
            publishers: random.usize(1..4),
            messages: random.usize(3..14),
            lives,
            faults: if random.u32(0..4) == 0 { 0 } else { random.u32(1..25) },
        }
    }

    /// Randomness for one thing alone.
    pub fn dice(&self, what: &str, which: impl Hash) -> fastrand::Rng {
        let mut hasher = DefaultHasher::new();
        (self.seed, what).hash(&mut hasher);
        which.hash(&mut hasher);
        fastrand::Rng::with_seed(hasher.finish())
    }

    /// The fault of the call `number` of `what` for a message.
    pub fn fault(&self, what: &str, id: &str, number: usize) -> Fault {
        let mut dice = self.dice(what, (id, number));
        if dice.u32(0..100) >= self.faults {
            return Fault::None;
        }
        let late = Duration::from_millis(match dice.u32(0..10) {
            0 => dice.u64(1000..6000),
            _ => dice.u64(1..400),
        });
        match dice.u32(0..6) {
            0 | 1 => Fault::LateCall(late),
            2 => Fault::LateAnswer(late),
            3 => Fault::Unknown,
            4 => Fault::Lost,
            _ => Fault::Twice,
        }
    }

    /// How many messages receivers get in a call, if they get several.
    pub fn batch(&self) -> Option<usize> {
        let mut dice = self.dice("batch", ());
        (dice.u32(0..3) == 0).then(|| dice.usize(2..6))
    }

    /// How long a receiver takes and what it answers.
    pub fn answer(&self, queue: &str, id: &str, attempt: u32, is_calm: bool) -> (Duration, Answer) {
        let mut dice = self.dice("answer", (queue, id, attempt));
        if is_calm {
            return (Duration::from_millis(dice.u64(0..20)), Answer::Ok);
        }
        let takes = Duration::from_millis(match dice.u32(0..20) {
            0 => dice.u64(2000..12_000),
            1..5 => 0,
            _ => dice.u64(1..300),
        });
        let answer = match dice.u32(0..100) {
            0..12 => Answer::Retry,
            12..18 => Answer::RetryAfter(Duration::from_millis(dice.u64(0..8000))),
            18..22 => Answer::Reject,
            22..26 => Answer::Trap,
            26..30 => Answer::GiveBack,
            _ => Answer::Ok,
        };
        (takes, answer)
    }

    /// The longest that anything may wait after the last fault: for its delay, a lease, a receiver at work, and five
    /// seconds.
    pub fn patience(&self) -> Duration {
        let delay = self.retry.backoff(u32::MAX, 1.0).max(self.retry.retry_after_max).max(DELAY_MAX);
        // A batch has the time of its messages, and so have its halves, their halves, and each of the messages alone.
        let calls = 1 + 4 * self.batch().unwrap_or(0) as u32;
        delay + self.lease + self.timeout * calls + Duration::from_secs(5)
    }
}

/// The longest delay of a publication.
pub const DELAY_MAX: Duration = Duration::from_secs(3);

impl Life {
    /// One to which nothing happens.
    pub fn quiet() -> Self {
        Self { end: End::ShutDown, lasts: Duration::MAX, down: Duration::ZERO, wall: 0, power: false }
    }

    fn draw(random: &mut fastrand::Rng, kind: Kind) -> Self {
        let point = Point::ALL[random.usize(0..Point::ALL.len())];
        let often = random.u32(1..12);
        let end = match random.u32(0..10) {
            0..6 => End::At(point, often),
            6 if kind == Kind::Sqlite => End::CommitFails(random.u32(1..60)),
            7 => End::ShutDown,
            _ => End::Killed,
        };
        Self {
            end,
            lasts: Duration::from_millis(random.u64(50..6000)),
            down: Duration::from_millis(random.u64(0..2000)),
            wall: [0, 0, 3_600_000, -3_600_000][random.usize(0..4)],
            power: random.bool(),
        }
    }
}
