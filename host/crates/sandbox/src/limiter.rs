//! Memory and tables of a store: one sum over all of them.

use wasmpost_msg::Reason;
use wasmtime::ResourceLimiter;

/// The most linear memories, tables and core instances of one store.
const MEMORIES_MAX: usize = 4;
const TABLES_MAX: usize = 16;
const INSTANCES_MAX: usize = 32;

/// Sums what all memories and tables of a store have, and refuses what goes beyond.
#[derive(Debug)]
pub(crate) struct Limiter {
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
}

impl Limiter {
    pub(crate) fn new(memory_bytes_max: usize, table_elements_max: usize) -> Self {
        Self {
            memory_bytes_max,
            memory_bytes: 0,
            table_elements_max,
            table_elements: 0,
            memory_peak_bytes: 0,
            memory_refused: false,
            table_refused: false,
        }
    }
}

impl Limiter {
    /// The limit that the guest ran into, memory before tables.
    pub(crate) fn refused(&self) -> Option<Reason> {
        match (self.memory_refused, self.table_refused) {
            (true, _) => Some(Reason::MemoryLimit),
            (_, true) => Some(Reason::TableLimit),
            _ => None,
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
        self.table_elements = sum;
        Ok(true)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}
