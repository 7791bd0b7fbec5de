//! `wasi:config`: the configuration that the operator gave to the receiver.

use wasmtime::component::Linker;
use wasmtime_wasi_config::WasiConfig;

use crate::state::StoreState;

pub(super) fn add_to_linker(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    wasmtime_wasi_config::add_to_linker(linker, |state| WasiConfig::new(&state.shared.config))
}
