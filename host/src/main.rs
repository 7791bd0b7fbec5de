//! The wasmpost command.
fn main() {}
