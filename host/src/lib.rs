//! wasmpost.
