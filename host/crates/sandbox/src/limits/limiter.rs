//! Memory and tables of a store: one sum over all of them, and memory summed over all stores of a tenant as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasmpost_msg::Reason;
use wasmtime::ResourceLimiter;

use super::quantity::Size;
use super::rows::Limits;

/// The most linear memories and tables of one store.
const MEMORIES_MAX: usize = 4;
const TABLES_MAX: usize = 16;
/// The most memory that an element of a table takes.
const ELEMENT_BYTES: usize = 16;

/// The memory that all live instances of a tenant may hold together: linear memories, and tables by what their elements
/// take.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use wasmpost_sandbox::{MemoryBudget, ReceiverOptions, Size};
///
/// // Two receivers that have 256 mebibytes together.
/// let budget = MemoryBudget::new(Size(256 << 20));
/// let orders = ReceiverOptions { memory: Some(Arc::clone(&budget)), ..ReceiverOptions::default() };
/// let mails = ReceiverOptions { memory: Some(Arc::clone(&budget)), ..ReceiverOptions::default() };
/// # drop((orders, mails));
/// assert_eq!(budget.held_bytes(), 0);
/// ```
#[derive(Debug)]
pub struct MemoryBudget {
    max: Size,
    held_bytes: AtomicUsize,
}

/// Sums what all memories and tables of a store have, and refuses what goes beyond.
#[derive(Debug)]
pub(crate) struct Limiter {
    budget: Option<Arc<MemoryBudget>>,
    instances_max: usize,
    memory_bytes_max: usize,
    memory_bytes: usize,
    table_elements_max: usize,
    table_elements: usize,
    /// The most memory that the store had, in bytes.
    pub(crate) memory_peak_bytes: usize,
    /// Whether the guest asked for more memory than it may have.
    pub(crate) memory_refused: bool,
    /// Whether the guest asked for larger tables than it may have.
    pub(crate) table_refused: bool,
    /// Where the guest asked for memory that it may have, but others of its tenant hold: the most that they may hold.
    pub(crate) budget_refused: Option<Size>,
}

impl MemoryBudget {
    /// A budget of so much.
    pub fn new(max: Size) -> Arc<Self> {
        Arc::new(Self { max, held_bytes: AtomicUsize::new(0) })
    }

    /// How much is held now, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let max = self.max.bytes();
        let more = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= max);
        self.held_bytes.try_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

impl Limiter {
    pub(crate) fn new(limits: &Limits, instances_max: usize, budget: Option<Arc<MemoryBudget>>) -> Self {
        let memory_bytes_max = limits.memory.bytes();
        let table_elements_max = limits.table_elements as usize;
        Self {
            budget,
            instances_max,
            memory_bytes_max,
            memory_bytes: 0,
            table_elements_max,
            table_elements: 0,
            memory_peak_bytes: 0,
            memory_refused: false,
            table_refused: false,
            budget_refused: None,
        }
    }
}

impl Limiter {
    /// Takes bytes out of the budget of the tenant, if it has one and they are left.
    fn take(&mut self, bytes: usize) -> bool {
        let Some(budget) = self.budget.as_ref().filter(|budget| !budget.take(bytes)) else { return true };
        if budget.held_bytes() > self.held_bytes() {
            self.budget_refused = Some(budget.max);
        } else {
            // Nobody else holds anything: it would be refused however often it came again.
            self.memory_refused = true;
        }
        false
    }

    fn held_bytes(&self) -> usize {
        self.memory_bytes + self.table_elements * ELEMENT_BYTES
    }

    /// Whether there is as much memory left as the guest holds.
    pub(crate) fn has_room(&self) -> bool {
        self.memory_bytes <= self.memory_bytes_max / 2
    }

    /// The limit that the guest ran into, memory before tables.
    pub(crate) fn refused(&self) -> Option<Reason> {
        match (self.memory_refused, self.table_refused) {
            (true, _) => Some(Reason::MemoryLimit),
            (_, true) => Some(Reason::TableLimit),
            _ => None,
        }
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.held_bytes.fetch_sub(self.held_bytes(), Ordering::Relaxed);
        }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let sum = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        if sum > self.memory_bytes_max {
            self.memory_refused = true;
            return Ok(false);
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        if !self.take(sum - self.memory_bytes) {
            return Ok(false);
        }
        self.memory_bytes = sum;
        self.memory_peak_bytes = self.memory_peak_bytes.max(sum);
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let sum = self.table_elements.saturating_add(desired.saturating_sub(current));
        if sum > self.table_elements_max {
            self.table_refused = true;
            return Ok(false);
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        if !self.take((sum - self.table_elements).saturating_mul(ELEMENT_BYTES)) {
            return Ok(false);
        }
        self.table_elements = sum;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.instances_max
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}
