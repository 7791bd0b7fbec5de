//! Turning bytes of the cache into code: the one place where this project trusts bytes that it reads.
#![allow(unsafe_code)]

use wasmtime::Engine;
use wasmtime::component::Component;

/// The component of bytes that [`Component::serialize`] made.
///
/// `verified` are bytes whose keyed hash was checked by the cache: this host wrote them, with this engine's settings.
pub(super) fn deserialize(engine: &Engine, verified: &[u8]) -> Option<Component> {
    // SAFETY: deserialize asks that the bytes come from serialize. The cache has checked a keyed hash over them, whose
    // key lies in a directory that only this user can read, and hashes nothing but what serialize returned.
    unsafe { Component::deserialize(engine, verified) }.ok()
}
