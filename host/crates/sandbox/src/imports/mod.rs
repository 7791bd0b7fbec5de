//! What guests can import: one file for each interface.

pub(crate) mod config;
pub(crate) mod http;
pub(crate) mod logging;
pub(crate) mod message;
pub(crate) mod topic;
pub(crate) mod wasi;

use wasmtime::component::{HasSelf, Linker};

use crate::bindings;
use crate::state::StoreState;

/// Offers everything that a guest may import.
pub(crate) fn add_to_linker(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    bindings::wasmpost::messaging::types::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    bindings::wasmpost::messaging::topic::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    bindings::wasi::logging::logging::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    bindings::wasi::config::store::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    wasi::add_to_linker(linker)?;
    http::add_to_linker(linker)
}
