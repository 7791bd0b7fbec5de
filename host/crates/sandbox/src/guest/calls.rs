//! How components call and are called.

/// How a component calls and is called. Each way has an engine of its own: concurrency costs every call of every guest, so
/// those that do not ask for it run without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calls {
    /// One call at a time, as in WASI 0.2.
    Synchronous,
    /// With asynchronous functions and streams, as in WASI 0.3.
    Asynchronous,
}
