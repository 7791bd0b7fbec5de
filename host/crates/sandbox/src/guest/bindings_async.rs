//! Bindings that are generated from the asynchronous part of the contract in `wit/async/`.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used, clippy::indexing_slicing)] // Generated.

wasmtime::component::bindgen!({
    path: "wit/contract/async",
    world: "wasmpost:messaging/plugin-async",
    imports: { default: trappable },
    with: {
        "wasi:logging/logging": crate::guest::bindings::wasi::logging::logging,
        "wasi:config/store": crate::guest::bindings::wasi::config::store,
        "wasmpost:messaging/types-async.message": crate::guest::handles::Lent,
        "wasmpost:messaging/types-async.message-writer": crate::guest::handles::LentWriter,
    },
});
