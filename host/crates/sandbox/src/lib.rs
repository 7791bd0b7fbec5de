//! A WebAssembly component as a receiver of messages, behind limits.
//!
//! A [`Sandbox`] loads components ([`Sandbox::load`]). A [`WasmReceiver`] is a loaded component with limits, grants and
//! configuration; it implements [`wasmpost_msg::Receiver`], so that servers and decorators fit around it. Each message
//! gets a fresh instance, which ends with it.
//!
//! This crate knows no broker.

mod engine;
mod error;
mod file;
mod guest;
mod imports;
mod limits;
mod load;
mod receiver;
mod sync;
mod worlds;

pub use engine::{CONCURRENT_MAX, Compiler, EngineOptions, Profile};
pub use error::{LoadError, SandboxError};
pub use file::{FileError, open_plain_file, read_plain_file};
pub use guest::{
    Grants, HttpOrigin, Level, LogRecord, LogSink, LogSource, Network, Resolver, Surroundings, SystemResolver,
    TopicPattern, TracingSink,
};
pub use limits::{LimitCaps, LimitRow, Limits, LoadLimits, MemoryBudget, Size, Span};
pub use load::{LoadedComponent, Sandbox, compile_for_parent, component_of};
pub use receiver::{ReceiverOptions, WasmReceiver};
