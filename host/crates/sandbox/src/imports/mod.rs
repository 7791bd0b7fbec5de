//! The imports of guests: one file for each interface.

pub(crate) mod config;
pub(crate) mod http;
pub(crate) mod logging;
pub(crate) mod message;
pub(crate) mod message_async;
pub(crate) mod topic;
pub(crate) mod wasi;

use wasmtime::component::{HasSelf, Linker};

use crate::guest::{Calls, StoreState, bindings, bindings_async};

/// Offers everything that guests may import which call like this.
pub(crate) fn add_to_linker(linker: &mut Linker<StoreState>, calls: Calls) -> wasmtime::Result<()> {
    bindings::wasmpost::messaging::types::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    message::add_body_to_linker(linker)?;
    bindings::wasmpost::messaging::topic::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    topic::add_publish_to_linker(linker)?;
    logging::add_to_linker(linker, calls)?;
    bindings::wasi::config::store::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    if calls == Calls::Asynchronous {
        bindings_async::wasmpost::messaging::types_async::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
        message_async::add_publish_to_linker(linker)?;
    }
    wasi::add_to_linker(linker, calls)?;
    http::add_to_linker(linker, calls)
}
