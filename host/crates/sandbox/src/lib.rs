//! A WebAssembly component as a receiver of messages, behind limits.
//!
//! A [`Sandbox`] loads components ([`Sandbox::load`]). A [`WasmReceiver`] is a loaded component with limits, grants and
//! configuration; it implements [`wasmpost_msg::Receiver`], so that servers and decorators fit around it. Each message
//! gets a fresh instance, which ends with it.
//!
//! This crate knows no broker.
//!
//! # Floors
//!
//! From the ground up: a module names those below its own floor, and beside it those in its parentheses.
//!
//! 1. `limits`: quantities, limits, and what is counted of memory and time · `sync`: primitives that threads meet in ·
//!    `confine`: rights that processes give up
//! 2. `file`: files that anybody may have laid there
//! 3. `error`: errors, and what the engine's mean
//! 4. `guest`: the state of a store for a delivery, with its log, outbox, grants and requests
//! 5. `imports`: host functions on that state
//! 6. `worlds`: what components export, and how it is called
//! 7. `engine`: settings, the ticker, places for instances
//! 8. `load`: scanning, the compile child, the cache, mapping, and the sandbox with all of these
//! 9. `receiver`: a component as a receiver, alone in an instance or in a crew

mod confine;
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

pub use confine::{Confined, Files, Kernel, confine_compiler, confine_server};
pub use engine::{BATCH_MAX, CONCURRENT_MAX, Code, Compiler, EngineOptions, Profile};
#[doc(hidden)] // For the loops that this crate is measured against.
pub use engine::{is_change_told, map_zeroes};
pub use error::{LoadError, SandboxError};
pub use file::{FileError, open_plain_file, read_plain_file};
pub use guest::{
    Grants, HttpOrigin, Level, LogRecord, LogSink, LogSource, Network, Resolver, Surroundings, SystemResolver,
    TopicPattern, TracingSink,
};
pub use limits::{LimitCaps, LimitRow, Limits, LoadLimits, MemoryBudget, Size, Span};
pub use load::{Instances, LoadedComponent, Sandbox, compile_for_parent, component_of};
pub use receiver::{ReceiverOptions, WasmReceiver};
