//! The sandbox of commands that look at single components.

use std::sync::Arc;

use wasmpost_sandbox::{Compiler, EngineOptions, Profile, Sandbox, SandboxError, Size};

use super::{Failure, output};
use crate::config::default_cache_dir;

/// The engine of such a command.
pub(super) fn engine() -> EngineOptions {
    EngineOptions { cache_dir: default_cache_dir(), compiler: Compiler::this_program(), ..EngineOptions::default() }
}

/// A sandbox for a guest with so much memory. Where addresses are scarce, as under `ulimit -v`, it makes do with few.
pub(super) fn sandbox(options: EngineOptions, memory: Size) -> Result<Arc<Sandbox>, Failure> {
    let narrow = || EngineOptions { memory_max: memory, profile: Profile::Bounds, ..options.clone() };
    let made = match Sandbox::new(options.clone()) {
        Err(SandboxError::Addresses { .. }) => Sandbox::new(narrow()),
        made => made,
    };
    let sandbox = made.map_err(Failure::usage)?;
    tell_faults(&sandbox);
    Ok(sandbox)
}

/// Warns that compiled components are not kept, if they were to be, and that the compiler is not confined.
pub(super) fn tell_faults(sandbox: &Sandbox) {
    if let Some(fault) = sandbox.cache_fault() {
        output::note(format_args!("warning: {fault}"));
    }
    if let Some(fault) = sandbox.confinement_fault() {
        output::note(format_args!("warning: {fault}"));
    }
}
