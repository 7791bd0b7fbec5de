//! Turning bytes of the cache into code: the one place where this project trusts bytes that it reads.
#![allow(unsafe_code)]

use std::path::Path;

use wasmtime::Engine;
use wasmtime::component::Component;

/// The component of bytes that were compiled just now, by this process or by the one that it had compile them.
pub(super) fn deserialize(engine: &Engine, compiled: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: deserialize asks that the bytes come from precompile_component. They do: they were returned by it here, or
    // came through the pipe of a child that runs this same program and writes nothing else to it.
    unsafe { Component::deserialize(engine, compiled) }
}

/// The component of a file, mapped rather than read: what is not run takes no memory.
///
/// The caller has checked a keyed hash over the whole file: this host wrote it, with this engine's settings.
pub(super) fn deserialize_file(engine: &Engine, verified: &Path) -> Option<Component> {
    // SAFETY: deserialize_file asks that the content comes from precompile_component and does not change. The cache has
    // checked a keyed hash over it, whose key lies in a directory that only this user can read, and which hashes nothing
    // but what was compiled. Files there are never written again: another content is another file in its place.
    unsafe { Component::deserialize_file(engine, verified) }.ok()
}
