//! Work on many dead letters: done in steps, each in the transaction of a group, so that other work runs in between.

use wasmpost_delivery::DeadLetterFilter;
use wasmpost_msg::counted;

use crate::channel::Reply;
use crate::error::Outcome;
use crate::store::{Grave, Store};

/// The most dead letters that are put back or deleted in one step, and the most bytes of their bodies.
const STEP_LETTERS: usize = 32;
const STEP_BYTES: usize = 1 << 20;
/// The most dead letters that are read, and ids that are looked up, in one step.
const STEP_LOOKED_AT: usize = 512;

/// The fate of dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Redriven,
    Purged,
}

/// Puts back or deletes the selected dead letters that existed when it began, each once.
pub(crate) struct Job {
    fate: Fate,
    filter: DeadLetterFilter,
    /// The number of the last one that existed when it began.
    last: Option<i64>,
    /// How many of the ids were looked up so far, and the letters that have them.
    ids: usize,
    numbers: Vec<i64>,
    /// How many of these were read; without ids, the number of the last one that was.
    looked_at: usize,
    after: i64,
    count: u64,
    step: Step,
    reply: Reply<u64>,
}

/// The outcome of the last step, once it is committed.
#[derive(Default)]
struct Step {
    ids: usize,
    numbers: Vec<i64>,
    looked_at: usize,
    after: i64,
    count: u64,
    is_last: bool,
}

impl Job {
    pub(crate) fn new(fate: Fate, filter: DeadLetterFilter, reply: Reply<u64>) -> Self {
        Self {
            fate,
            filter,
            last: None,
            ids: 0,
            numbers: Vec::new(),
            looked_at: 0,
            after: 0,
            count: 0,
            step: Step::default(),
            reply,
        }
    }

    /// Whether its caller still waits for it.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    /// Does the next step. It is repeated if its group fails.
    pub(crate) fn step(&mut self, store: &mut Store) -> Outcome<()> {
        let last = *self.last.get_or_insert(store.last_grave());
        self.step = match (self.filter.ids.is_empty(), self.filter.ids.get(self.ids..)) {
            (false, Some(ids @ [_, ..])) => look_up(ids, last, store)?,
            (false, _) => self.end_numbered(store)?,
            (true, _) => self.end_after(last, store)?,
        };
        Ok(())
    }

    /// Notes that the last step was committed. Returns whether there is another.
    pub(crate) fn committed(&mut self) -> bool {
        let Step { ids, numbers, looked_at, after, count, is_last } = std::mem::take(&mut self.step);
        if ids > 0 {
            self.ids += ids;
            self.numbers.extend(numbers);
            // In the order in which they died, each once.
            self.numbers.sort_unstable();
            self.numbers.dedup();
        }
        self.looked_at += looked_at;
        self.after = self.after.max(after);
        self.count += count;
        !is_last
    }

    /// Answers how many there were, or why it stopped.
    pub(crate) fn answer(self, result: Result<(), wasmpost_delivery::BrokerError>) {
        let count = self.count;
        let what = if self.fate == Fate::Redriven { "redriven" } else { "purged" };
        let result = result.map(|()| count).map_err(|error| match count {
            0 => error,
            _ => {
                let context = format!("stopped after {what} {}: {}", counted(count, "dead letter"), error.context());
                wasmpost_delivery::BrokerError::new(error.kind(), context)
            }
        });
        // A caller that went away needs no answer.
        drop(self.reply.send(result));
    }

    fn end_numbered(&self, store: &mut Store) -> Outcome<Step> {
        let left = self.numbers.get(self.looked_at..).unwrap_or_default();
        let mut step = Step::default();
        let mut bytes = 0;
        for number in left.iter().take(STEP_LETTERS) {
            if bytes >= STEP_BYTES {
                break;
            }
            step.looked_at += 1;
            if let Some(grave) = store.grave(*number)?.filter(|grave| grave.is_meant(&self.filter)) {
                bytes += self.end(&grave, store)?;
                step.count += 1;
            }
        }
        step.is_last = step.looked_at == left.len();
        Ok(step)
    }

    fn end_after(&self, last: i64, store: &mut Store) -> Outcome<Step> {
        let graves = store.graves_after(self.filter.queue.as_deref(), (self.after, last), STEP_LOOKED_AT)?;
        let mut step = Step { is_last: graves.len() < STEP_LOOKED_AT, ..Step::default() };
        let mut bytes = 0;
        for grave in graves {
            if step.count as usize >= STEP_LETTERS || bytes >= STEP_BYTES {
                step.is_last = false;
                break;
            }
            step.after = grave.number;
            if grave.is_meant(&self.filter) {
                bytes += self.end(&grave, store)?;
                step.count += 1;
            }
        }
        Ok(step)
    }

    /// Puts one back or deletes it. Returns the size of its body.
    fn end(&self, grave: &Grave, store: &mut Store) -> Outcome<usize> {
        if self.fate == Fate::Redriven {
            return store.redrive(grave).map(|()| 0);
        }
        let bytes = store.body_bytes(grave)?;
        store.purge(grave).map(|()| bytes)
    }
}

/// Looks up the letters with some of the ids, up to the last one that existed when the job began.
fn look_up(ids: &[String], last: i64, store: &Store) -> Outcome<Step> {
    let mut step = Step::default();
    for id in ids.iter().take(STEP_LOOKED_AT) {
        step.ids += 1;
        step.numbers.extend(store.graves_of(id)?.into_iter().filter(|number| *number <= last));
    }
    Ok(step)
}
