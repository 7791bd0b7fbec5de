//! A WebAssembly component as a receiver of messages, behind limits.
//!
//! A [`Sandbox`] loads components ([`Sandbox::load`]). A [`WasmReceiver`] is a loaded component with limits, grants and
//! configuration; it implements [`wasmpost_msg::Receiver`], so that servers and decorators fit around it. Each message
//! gets a fresh instance, which ends with it.
//!
//! This crate knows no broker.

mod audit;
mod bindings;
mod bindings_async;
mod crew;
mod delivery;
mod engine;
mod error;
mod file;
mod grants;
mod imports;
mod limits;
mod load;
mod log;
mod origin;
mod places;
mod receiver;
mod setup;
mod state;
mod sync;
mod ticker;
mod worlds;

pub use engine::{CONCURRENT_MAX, EngineOptions, Profile, Sandbox};
pub use error::{LoadError, SandboxError};
pub use file::{FileError, open_plain_file, read_plain_file};
pub use grants::{Grants, TopicPattern};
pub use imports::http::{Network, Resolver, SystemResolver};
pub use imports::wasi::Surroundings;
pub use limits::{LimitCaps, LimitRow, Limits, LoadLimits, MemoryBudget, Size, Span};
pub use load::{Compiler, LoadedComponent, compile_for_parent, component_of};
pub use log::{Level, LogRecord, LogSink, LogSource, TracingSink};
pub use origin::HttpOrigin;
pub use receiver::{ReceiverOptions, WasmReceiver};
