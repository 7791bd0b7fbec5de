//! Turning bytes into code: the one place where this project trusts bytes that it reads.
#![allow(unsafe_code)]

use std::os::fd::AsRawFd;

use wasmtime::Engine;
use wasmtime::component::Component;

use super::sealed::{self, Sealed};

/// The component of machine code that stays as it is.
///
/// The caller knows that the engine's compiler wrote it: it was compiled just now, by this process or by the one that it
/// had compile, or is what this process unmapped before, or was checked against a keyed hash before it was sealed.
pub(super) fn deserialize(engine: &Engine, code: &Sealed) -> wasmtime::Result<Component> {
    match code {
        Sealed::File(file) => {
            // A descriptor of this process, opened anew by the engine.
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            // SAFETY: deserialize_file asks that the content comes from precompile_component or serialize, and does not
            // change. It comes from there, as the caller knows, and the kernel lets nobody write to what is sealed.
            let mapped = unsafe { Component::deserialize_file(engine, path) };
            // A system without /proc, or one that does not let such files be mapped.
            mapped.or_else(|error| {
                let code = sealed::read(file).map_err(|_| error)?;
                // SAFETY: as above; the engine makes a copy of its own.
                unsafe { Component::deserialize(engine, code) }
            })
        }
        // SAFETY: as above; the engine makes a copy of its own.
        Sealed::Private(code) => unsafe { Component::deserialize(engine, code) },
    }
}
