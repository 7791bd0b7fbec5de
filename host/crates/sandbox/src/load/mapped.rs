//! Turning bytes into code: the one place where this project trusts bytes that it reads.
#![allow(unsafe_code)]

use std::os::fd::AsRawFd;

use rustix::fs::{SealFlags, fcntl_get_seals};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::sealed::Sealed;

/// The component of compiled code, mapped rather than copied once more: one copy holds the code and what memories of
/// guests begin with.
///
/// The caller knows that the engine's compiler wrote it: it was compiled just now, by this process or by the one that it
/// had compile, or is what this process unmapped before, or was checked against a keyed hash when it was sealed.
pub(super) fn deserialize(engine: &Engine, compiled: &Sealed) -> wasmtime::Result<Component> {
    let seals = fcntl_get_seals(compiled).unwrap_or(SealFlags::empty());
    if !seals.contains(SealFlags::WRITE | SealFlags::SHRINK) {
        return Err(wasmtime::Error::msg("machine code is not sealed"));
    }
    // A descriptor of this process, opened anew by the engine.
    let path = format!("/proc/self/fd/{}", compiled.as_raw_fd());
    // SAFETY: deserialize_file asks that the content comes from precompile_component or serialize, and does not change.
    // It comes from there, as the caller knows, and the kernel lets nobody write to it since it is sealed.
    let mapped = unsafe { Component::deserialize_file(engine, path) };
    mapped.or_else(|error| {
        // A system without /proc, or one that does not let such files be mapped.
        let bytes = compiled.read().map_err(|_| error)?;
        // SAFETY: as above; the engine makes a copy of its own.
        unsafe { Component::deserialize(engine, bytes) }
    })
}
