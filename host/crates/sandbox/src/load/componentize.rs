//! Making a component from a core module, as compilers without component support leave it behind.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::ComponentEncoder;

use super::scan::Scanned;
use crate::error::LoadError;

/// Whether a core module can become a component: it has to say in a section `component-type` which world it implements,
/// or be a command of preview 1, whose world is known.
pub(super) fn check(scanned: &Scanned) -> Result<(), LoadError> {
    if scanned.has_world || is_command(scanned) {
        return Ok(());
    }
    let is_none = match (scanned.has_start, scanned.imports_preview1) {
        (true, _) => "it exports _start, but imports from elsewhere than wasi_snapshot_preview1",
        (false, true) => "it imports from wasi_snapshot_preview1, but exports no _start, as a command does",
        (false, false) => "it is no command of WASI preview 1",
    };
    Err(LoadError::Componentize(format!(
        "{is_none}, and it has no section component-type, which tells its world; build it with wit-bindgen, or embed the \
         world with wasm-tools component embed"
    )))
}

/// Whether a core module is a command of preview 1. One that imports nothing needs nothing of it.
fn is_command(scanned: &Scanned) -> bool {
    scanned.has_start && (scanned.imports_preview1 || !scanned.has_imports)
}

/// A component of the core module.
pub(super) fn componentize(module: &[u8], scanned: &Scanned) -> Result<Vec<u8>, LoadError> {
    check(scanned)?;
    encode(module, scanned).map_err(|error| LoadError::Componentize(format!("{error:#}")))
}

fn encode(module: &[u8], scanned: &Scanned) -> anyhow::Result<Vec<u8>> {
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(module)?;
    if scanned.imports_preview1 || !scanned.has_world {
        let adapter = match scanned.has_start {
            true => WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
            false => WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
        };
        encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter)?;
    }
    encoder.encode()
}
