//! Errors. The only place that looks into what the engine reports.

use std::fmt::{self, Write};
use std::io;
use std::path::PathBuf;

use wasmpost_msg::{Disposition, Reason, ReceiveError};
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::file::FileError;
use crate::limits::{Limiter, Limits, Size, Span};

/// The most of a text that a file can make long, in bytes.
const TEXT_BYTES_MAX: usize = 2_000;

/// How much of a function's name a backtrace tells, in bytes.
const FRAME_BYTES_MAX: usize = 256;

/// The error of a sandbox that could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The settings do not fit together, or the machine cannot do what they ask for.
    #[error("engine could not be set up: {0}")]
    Engine(String),
    /// The system does not give this process the addresses that instances need.
    #[error(
        "addresses for {instances} instances of up to {memory_max} could not be reserved: {fault}; where addresses are \
         limited (ulimit -v), profile = \"bounds\", fewer instances and a lower memory_max under [host] need less, and \
         load = {{ compile_memory = \"512MiB\" }} has the compiler use less"
    )]
    Addresses {
        /// How many instances there were to be.
        instances: u32,
        /// The most memory of each.
        memory_max: Size,
        /// The error of the system.
        fault: String,
    },
    /// Bounds checks without guard pages are not for guests that attack each other.
    #[error("profile \"bounds\" is not for hostile guests: use profile \"guard\"")]
    BoundsForHostile,
    /// A process that hostile guests may take over cannot be confined.
    #[error(
        "{missing} cannot be used here, and hostile = true needs it: run Linux 5.13 or newer with landlock among its security \
         modules (lsm=), and have the container, if there is one, allow system calls of landlock and seccomp"
    )]
    Unconfined {
        /// The names of the means of confinement.
        missing: &'static str,
    },
    /// The thread that measures time could not be started.
    #[error("thread for the epoch could not be started")]
    Thread(#[source] io::Error),
    /// A certificate is not one of an authority that servers of HTTP can be checked with.
    #[error("outgoing HTTP could not be set up: {0}")]
    Network(String),
}

/// The error of a component that was not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be read.
    #[error("component {path:?} could not be read: {fault}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        fault: FileError,
    },
    /// It is not WebAssembly.
    #[error("not a WebAssembly file: {0}")]
    NotWasm(String),
    /// It is larger or more complex than what is loaded.
    #[error("compile-limit: {0}")]
    Limit(String),
    /// The process that compiles did not do its work.
    #[error("compiler {0}")]
    Compiler(String),
    /// It is WebAssembly, but broken or of a kind that is not supported.
    #[error("component is malformed: {0}")]
    Malformed(String),
    /// It is asynchronous, and the host is for guests that attack each other.
    #[error(
        "component is asynchronous, as those of WASI 0.3 are: a host with hostile = true does not load it; build it for \
         WASI 0.2"
    )]
    AsyncForHostile,
    /// The engine for asynchronous components could not be made.
    #[error(transparent)]
    Engine(SandboxError),
    /// It needs proposals to WebAssembly that are switched off.
    #[error("needs {proposals}, which this host does not offer")]
    Needs {
        /// Their names, as docs/reference/webassembly.md has them.
        proposals: String,
    },
    /// It is a core module that cannot be made into a component.
    #[error("core module cannot be made into a component: {0}")]
    Componentize(String),
    /// It exports no interface that receives messages.
    #[error("component exports no receiver; looked for {looked_for}; it exports {exports}")]
    NoReceiver {
        /// The interfaces that would do.
        looked_for: String,
        /// Its exports.
        exports: String,
    },
    /// It implements several worlds, and nobody said which to use.
    #[error("component implements several worlds: {found}; say which to use with world = \"...\"")]
    SeveralWorlds {
        /// The worlds.
        found: String,
    },
    /// It does not implement the world that it is to be used by.
    #[error("component does not implement world {wanted:?}, but {found}")]
    OtherWorld {
        /// The world that was asked for.
        wanted: String,
        /// The worlds that it implements.
        found: String,
    },
    /// As many components are mapped as can be, and all of them are in use.
    #[error(
        "{max} components are mapped, as many as the system allows, and all are in use: raise vm.max_map_count with sysctl"
    )]
    Mapped {
        /// How many there can be.
        max: usize,
    },
    /// Its world has one message in an instance at a time.
    #[error(
        "world {world:?} takes one message at a time: concurrent = {concurrent} needs wasmpost:messaging/plugin-async"
    )]
    OneAtATime {
        /// The world by which it is to receive.
        world: String,
        /// How many messages there were to be in an instance.
        concurrent: u32,
    },
    /// Its world has one message in a call.
    #[error("world {world:?} takes one message in a call: {setting} needs wasmpost:messaging/batch-plugin")]
    NoBatches {
        /// The world by which it is to receive.
        world: String,
        /// The setting that only receivers of batches have.
        setting: &'static str,
    },
    /// It imports what the host does not offer.
    #[error("component cannot be linked: {0}")]
    Import(String),
    /// Another error, with the file.
    #[error("component {path:?}: {fault}")]
    In {
        /// The file.
        path: PathBuf,
        /// The fault.
        fault: Box<LoadError>,
    },
}

impl SandboxError {
    pub(crate) fn engine(error: &wasmtime::Error) -> Self {
        Self::Engine(format!("{error:#}"))
    }

    /// Why the engine could not be made, which may be that its pool found no room.
    pub(crate) fn pool(error: &wasmtime::Error, instances: u32, memory_max: Size) -> Self {
        let fault = format!("{error:#}");
        if !fault.contains("mmap failed") {
            return Self::Engine(fault);
        }
        Self::Addresses { instances, memory_max, fault }
    }
}

impl LoadError {
    /// Shortens the texts that a file can make long.
    pub(crate) fn cut(self) -> Self {
        match self {
            Self::NotWasm(text) => Self::NotWasm(cut(text)),
            Self::Limit(text) => Self::Limit(cut(text)),
            Self::Compiler(text) => Self::Compiler(cut(text)),
            Self::Malformed(text) => Self::Malformed(cut(text)),
            Self::Componentize(text) => Self::Componentize(cut(text)),
            Self::Import(text) => Self::Import(cut(text)),
            Self::NoReceiver { looked_for, exports } => Self::NoReceiver { looked_for, exports: cut(exports) },
            short => short,
        }
    }

    pub(crate) fn malformed(error: &wasmtime::Error) -> Self {
        Self::Malformed(format!("{error:#}"))
    }

    pub(crate) fn too_large(max: Size) -> Self {
        Self::Limit(format!("file has more than {max}: raise load.file to load it"))
    }

    pub(crate) fn import(error: &wasmtime::Error) -> Self {
        Self::Import(format!("{error:#}"))
    }
}

/// A text that says no more than anybody reads.
pub(crate) fn cut(mut text: String) -> String {
    let left_out = text.len().saturating_sub(TEXT_BYTES_MAX);
    if left_out > 0 {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push_str(&format!("… ({left_out} bytes left out)"));
    }
    text
}

/// The circumstances of a failed call, beside its error.
pub(crate) struct Circumstances<'a> {
    pub(crate) limits: &'a Limits,
    /// How many messages the call had.
    pub(crate) messages: u32,
    pub(crate) limiter: &'a Limiter,
    pub(crate) cpu_exhausted: bool,
    /// Whether the guest wanted to publish more than it may.
    pub(crate) publish_refused: bool,
    /// Whether the guest was refused topics more often than it may be.
    pub(crate) is_flooded: bool,
}

/// Classifies the error of a call: the guest or the host is at fault, and which limit was hit.
pub(crate) fn classify(error: &wasmtime::Error, circumstances: &Circumstances<'_>) -> ReceiveError {
    if let Some(busy) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return ReceiveError::new(Disposition::GiveBack, Reason::HostBusy, format!("no instance is free: {busy}"));
    }
    let Circumstances { limiter, cpu_exhausted, publish_refused, .. } = circumstances;
    let is_innocent = limiter.refused().is_none() && !publish_refused && !cpu_exhausted;
    if let Some(max) = limiter.budget_refused.filter(|_| is_innocent) {
        return out_of_budget(max, &error.root_cause().to_string());
    }
    let (reason, text) = reason(error, circumstances);
    let failure = ReceiveError::new(Disposition::Retry, reason, text);
    match error.downcast_ref::<WasmBacktrace>().filter(|backtrace| !backtrace.frames().is_empty()) {
        Some(backtrace) => failure.with_backtrace(frames(backtrace)),
        None => failure,
    }
}

/// The code that a command ended with by itself, or the error that ended it.
pub(crate) fn exit_code(error: wasmtime::Error) -> wasmtime::Result<i32> {
    match error.downcast_ref::<I32Exit>() {
        Some(I32Exit(code)) => Ok(*code),
        None => Err(error),
    }
}

/// A delivery that failed because others of its tenant hold the memory: not its own fault.
pub(crate) fn out_of_budget(max: Size, cause: &str) -> ReceiveError {
    let text = format!("deliveries of the tenant hold {max} of memory, the most that they may together, then: {cause}");
    ReceiveError::new(Disposition::GiveBack, Reason::HostBusy, text)
}

/// A delivery that used up its CPU time.
pub(crate) fn cpu_limit(limits: &Limits) -> ReceiveError {
    ReceiveError::new(Disposition::Retry, Reason::CpuLimit, cpu_text(limits, 1))
}

fn cpu_text(limits: &Limits, messages: u32) -> String {
    let budget = Span(limits.cpu.0.saturating_mul(messages));
    format!("guest used more than {budget} of CPU time")
}

/// A call that returned another number of results than it had messages.
pub(crate) fn other_count(results: usize, messages: usize) -> ReceiveError {
    let text = format!("guest returned {results} results for {messages} messages");
    ReceiveError::new(Disposition::Retry, Reason::ResultCount, text)
}

fn reason(error: &wasmtime::Error, circumstances: &Circumstances<'_>) -> (Reason, String) {
    let Circumstances { limits, limiter, .. } = circumstances;
    let cause = error.root_cause().to_string();
    if circumstances.cpu_exhausted {
        return (Reason::CpuLimit, cpu_text(limits, circumstances.messages));
    }
    // A guest whose allocation failed usually traps; what it trapped for is the memory that it was refused.
    if limiter.memory_refused {
        let text = format!("guest asked for more than {} of memory, then: {cause}", limits.memory);
        return (Reason::MemoryLimit, text);
    }
    if limiter.table_refused {
        let text = format!("guest asked for more than {} table elements, then: {cause}", limits.table_elements);
        return (Reason::TableLimit, text);
    }
    let no_handle = matches!(error.downcast_ref(), Some(ResourceTableError::Full));
    if no_handle || cause.contains("handle limit exceeded") {
        return (Reason::HandleLimit, format!("guest held more than {} handles", limits.handles));
    }
    if cause.contains("fuel allocated for hostcalls has been exhausted") {
        return (Reason::ResultTooLarge, "guest passed more to the host than it takes".to_owned());
    }
    if circumstances.is_flooded {
        return (Reason::PublishLimit, format!("guest was refused more than {} publishes", limits.refusals));
    }
    if circumstances.publish_refused {
        return (Reason::PublishLimit, format!("guest published more than a delivery may, then: {cause}"));
    }
    match error.downcast_ref::<Trap>() {
        Some(trap) => (Reason::Trap, trap.to_string()),
        None => (Reason::Trap, cause),
    }
}

/// Text that is written up to a length, and cut there.
struct Cut(String);

impl fmt::Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = FRAME_BYTES_MAX.saturating_sub(self.0.len());
        let fits = text.floor_char_boundary(room);
        self.0.push_str(text.get(..fits).unwrap_or(text));
        // Names are the guest's, and what they stand for can be longer than they are.
        if fits < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

/// One frame a line, without the heading.
fn frames(backtrace: &WasmBacktrace) -> String {
    let lines = backtrace.frames().iter().enumerate().map(|(number, frame)| {
        let name = frame.func_name().map_or_else(
            || format!("function {}", frame.func_index()),
            |name| {
                let mut cut = Cut(String::new());
                // That it did not fit is no fault.
                let _ = write!(cut, "{:#}", rustc_demangle::demangle(name));
                cut.0
            },
        );
        match frame.module_offset() {
            Some(offset) => format!("{number}: {name} at {offset:#x}"),
            None => format!("{number}: {name}"),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}
