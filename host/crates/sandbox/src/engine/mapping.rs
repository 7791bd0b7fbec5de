//! A component as it is mapped: what instances are made of, and how messages are handed to them.

use std::sync::Arc;

use wasmtime::component::InstancePre;

use crate::guest::StoreState;
use crate::worlds::{Entry, World};

/// Machine code that is mapped.
pub(crate) struct Mapped {
    /// The component from which instances are made.
    pub(crate) pre: InstancePre<StoreState>,
    /// How messages are handed to them, by world. It knows where exports lie, which is another place in each mapping.
    entries: Vec<(&'static World, Arc<dyn Entry>)>,
}

impl Mapped {
    pub(crate) fn new(pre: InstancePre<StoreState>, worlds: &[&'static World]) -> wasmtime::Result<Self> {
        let bind = |world: &&'static World| world.bind(&pre).map(|entry| (*world, entry));
        let entries = worlds.iter().map(bind).collect::<Result<_, _>>()?;
        Ok(Self { pre, entries })
    }

    /// How it receives by one of its worlds.
    pub(crate) fn entry(&self, world: &'static World) -> wasmtime::Result<&Arc<dyn Entry>> {
        let found = self.entries.iter().find(|(own, _)| std::ptr::eq(*own, world));
        found.map(|(_, entry)| entry).ok_or_else(|| wasmtime::Error::msg("component has not this world"))
    }
}
