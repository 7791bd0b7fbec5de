//! An engine with the functions of the host. A sandbox has one for each way in which components call.

use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use super::mapped;
use super::sealed::Sealed;
use crate::engine::{EngineOptions, config_to_run, map_zeroes, memories};
use crate::error::SandboxError;
use crate::guest::{Calls, StoreState};
use crate::{imports, worlds};

/// An engine, its pool, and the functions that its guests can import.
pub(crate) struct Machine {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<StoreState>,
}

impl Machine {
    pub(super) fn new(options: &EngineOptions, calls: Calls) -> Result<Self, SandboxError> {
        let engine = Engine::new(&config_to_run(options, calls))
            .map_err(|error| SandboxError::pool(&error, options.pool_instances, options.memory_max))?;
        map_zeroes(&engine, memories(options), options.memory_max.bytes())
            .map_err(|error| SandboxError::engine(&error))?;
        let mut linker = Linker::new(&engine);
        let offered = imports::add_to_linker(&mut linker, calls).and_then(|()| worlds::add_to_linker(&mut linker));
        offered.map_err(|error| SandboxError::engine(&error))?;
        Ok(Self { engine, linker })
    }

    /// The component of machine code that this process had compiled.
    pub(super) fn map(&self, compiled: Vec<u8>) -> wasmtime::Result<Component> {
        mapped::deserialize(&self.engine, &Sealed::new(compiled))
    }
}
