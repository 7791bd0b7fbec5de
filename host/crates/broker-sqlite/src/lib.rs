//! wasmpost-broker-sqlite.
