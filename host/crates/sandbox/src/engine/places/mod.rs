//! Places for instances, and the instances that wait in theirs for another message.

mod rooms;

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::Instance;

use super::mapping::Mapped;
use crate::guest::StoreState;
use crate::limits::MemoryBudget;

/// A place for one instance.
pub(crate) type Place = rooms::Place<Live>;
/// All places of a sandbox.
pub(crate) type Places = rooms::Places<Live>;

/// A store, with its instance and the mapping of its code once that was made.
pub(crate) struct Live {
    pub(crate) store: Store<StoreState>,
    pub(crate) instance: Option<(Instance, Arc<Mapped>)>,
    /// How many messages it processed.
    pub(crate) used: u32,
}

impl Places {
    /// Ends all idle instances that hold memory of a budget which is used up.
    pub(crate) fn free_memory(&self, budget: &Arc<MemoryBudget>) {
        let holds = |place: &Place| {
            let shared = place.live.as_ref().map(|live| &live.store.data().shared);
            shared.and_then(|shared| shared.memory.as_ref()).is_some_and(|held| Arc::ptr_eq(held, budget))
        };
        while self.evict(holds) {}
    }
}
