//! Bindings that are generated from the contract in `wit/`.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used, clippy::indexing_slicing)] // Generated.

wasmtime::component::bindgen!({
    path: "wit/contract",
    world: "wasmpost:messaging/plugin",
    imports: { default: trappable },
    exports: { default: async },
    with: {
        "wasmpost:messaging/types.message": crate::guest::handles::Incoming,
        "wasmpost:messaging/types.message-writer": crate::guest::handles::LentWriter,
    },
});
