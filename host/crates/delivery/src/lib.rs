//! wasmpost-delivery.
