//! wasmpost-sandbox.
