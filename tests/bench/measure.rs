//! Interleaved rounds: every variant of a group runs once in each round, so that all of them meet the same machine.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// Rounds that count; one more warms up.
    pub(crate) rounds: usize,
    /// How long one variant should take in a round.
    pub(crate) per_round: Duration,
    /// A part of the ids of the rows that are wanted; all if none.
    pub(crate) rows: Option<&'static str>,
}

/// The time that some work took.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sample {
    pub(crate) wall: Duration,
    /// CPU time of the process, with that of the children that a variant says it had.
    pub(crate) cpu: Duration,
}

/// One way of doing the same as the others of its group.
pub(crate) struct Variant<'a> {
    /// The id by which aims and plots find it.
    pub(crate) id: String,
    pub(crate) name: String,
    /// The most messages that it can handle in a round.
    pub(crate) messages_max: usize,
    /// Handles so many messages.
    pub(crate) run: Box<dyn FnMut(usize) -> Sample + 'a>,
}

/// The rounds of one variant: what each took for one message.
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) wall: Vec<f64>,
    pub(crate) cpu: Vec<f64>,
}

/// The value that is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// Time as a clock shows it: where something waits for a disk, or runs on several threads.
    Wall,
    /// CPU time, which others on the same machine disturb less.
    Cpu,
}

impl<'a> Variant<'a> {
    pub(crate) fn new(id: impl Into<String>, name: impl Into<String>, run: impl FnMut(usize) -> Sample + 'a) -> Self {
        Self { id: id.into(), name: name.into(), messages_max: 1 << 20, run: Box::new(run) }
    }

    /// The same with at most so many messages in a round.
    pub(crate) fn at_most(self, messages_max: usize) -> Self {
        Self { messages_max, ..self }
    }
}

impl Row {
    pub(crate) fn new(id: impl Into<String>, name: impl Into<String>) -> Self {
        Self { id: id.into(), name: name.into(), wall: Vec::new(), cpu: Vec::new() }
    }

    /// One round more.
    pub(crate) fn add(&mut self, sample: Sample, messages: usize) {
        self.wall.push(sample.wall.as_secs_f64() / messages as f64);
        self.cpu.push(sample.cpu.as_secs_f64() / messages as f64);
    }

    /// The seconds that one message takes.
    pub(crate) fn median(&self, by: By) -> f64 {
        median(self.of(by).to_vec())
    }

    pub(crate) fn of(&self, by: By) -> &[f64] {
        match by {
            By::Wall => &self.wall,
            By::Cpu => &self.cpu,
        }
    }

    /// How much of the speed of `base` it has: the median over rounds, each compared with its own.
    pub(crate) fn speed_of(&self, base: &Row, by: By) -> f64 {
        median(base.of(by).iter().zip(self.of(by)).map(|(base, own)| base / own).collect())
    }
}

/// The middle of some numbers.
pub(crate) fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// The time that some work took on this thread, and on all others of the process meanwhile.
pub(crate) fn timed(work: impl FnOnce()) -> Sample {
    let began = Instant::now();
    let cpu = process_cpu();
    work();
    Sample { wall: began.elapsed(), cpu: process_cpu() - cpu }
}

/// The same of a future.
pub(crate) fn timed_on(runtime: &Runtime, work: impl Future<Output = ()>) -> Sample {
    timed(|| runtime.block_on(work))
}

/// The same of a future, from within a runtime.
pub(crate) async fn timed_async(work: impl Future<Output = ()>) -> Sample {
    let began = Instant::now();
    let cpu = process_cpu();
    work.await;
    Sample { wall: began.elapsed(), cpu: process_cpu() - cpu }
}

/// The CPU time of this process so far.
pub(crate) fn process_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap()
}

/// Runs all variants in turn, round by round, each with as many messages as fit into its time.
pub(crate) fn interleave(plan: Plan, mut variants: Vec<Variant<'_>>) -> Vec<Row> {
    variants.retain(|variant| plan.rows.is_none_or(|wanted| variant.id.contains(wanted)));
    let counts: Vec<usize> = variants.iter_mut().map(|variant| messages_for(plan.per_round, variant)).collect();
    let mut rows: Vec<Row> = variants.iter().map(|variant| Row::new(&variant.id, &variant.name)).collect();
    for round in 0..plan.rounds {
        for step in 0..variants.len() {
            // Each round begins with another, so that none always follows the same.
            let at = (step + round) % variants.len();
            rows[at].add((variants[at].run)(counts[at]), counts[at]);
        }
    }
    rows
}

/// Warms up, and finds out how many messages take about so long.
fn messages_for(wanted: Duration, variant: &mut Variant<'_>) -> usize {
    let mut messages = 1;
    loop {
        // The faster of two: a pause of the machine is not taken for the time of a message.
        let took = (variant.run)(messages).wall.min((variant.run)(messages).wall);
        if took * 3 >= wanted || messages >= variant.messages_max {
            let scaled = messages as f64 * wanted.as_secs_f64() / took.as_secs_f64().max(1e-9);
            return (scaled as usize).clamp(1, variant.messages_max);
        }
        messages = (messages * if took * 20 < wanted { 8 } else { 2 }).min(variant.messages_max);
    }
}
