//! The compiler's own process: what the host starts to compile one component.

use std::any::Any;
use std::ffi::OsString;
use std::io::{self, Read, Write};

use rustix::process::{Resource, Rlimit, Signal, getppid, getrlimit, nice, set_parent_process_death_signal, setrlimit};

use super::compile::{Compiled, compile_here};
use super::proposals::needed;
use super::{componentize, descriptors};
use crate::confine::confine_compiler;
use crate::engine::{EngineOptions, Profile};
use crate::error::{LoadError, SandboxError, cut};
use crate::guest::Calls;
use crate::limits::{LoadLimits, Size};

/// How the answer begins: with machine code behind it, with the text of an error, with nothing, with the names of
/// proposals, or with machine code for the engine of asynchronous components.
pub(super) const DONE: u8 = 0;
pub(super) const FAILED: u8 = 1;
pub(super) const ASYNC_FOR_HOSTILE: u8 = 2;
pub(super) const NEEDS: u8 = 3;
pub(super) const DONE_ASYNCHRONOUS: u8 = 4;

/// The lowest priority.
const NICE: i32 = 19;
/// Stack for compiling, which goes deep where types nest deep.
const STACK_BYTES: usize = 16 << 20;

/// The task of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Makes machine code of a component.
    Compile,
    /// Makes a component of a core module.
    Componentize,
}

/// The arguments for a child: the settings that machine code depends on, the limits, and the task.
pub(super) fn arguments(task: Task, options: &EngineOptions) -> Vec<OsString> {
    let profile = if options.profile == Profile::Bounds { "bounds" } else { "guard" };
    let seconds = options.load.compile_cpu.0.as_secs_f64().ceil() as u64;
    let numbers = [
        u64::from(options.hostile),
        options.memory_max.0,
        options.stack.0,
        seconds.max(1),
        options.load.compile_memory.0,
        u64::from(task == Task::Componentize),
        u64::from(std::process::id()),
    ];
    std::iter::once(profile.into()).chain(numbers.map(|number| number.to_string().into())).collect()
}

/// The arguments of a child.
struct Told {
    task: Task,
    options: EngineOptions,
    /// Of CPU time.
    seconds: u64,
    /// Of memory.
    bytes: u64,
    /// The process that started it.
    host: u64,
}

/// Compiles the component on standard input, as a child of a host whose arguments these are, and writes the machine
/// code to standard output; or makes a component of a core module, if the arguments say so.
///
/// It has to be the first thing that a process does: every descriptor but those of input and output is closed, and the
/// limits and the confinement bind this process before it reads anything. The process ends with its host.
///
/// # Errors
///
/// [`SandboxError::Engine`] for arguments that no host gives, where the system does not set the limits, and where
/// reading the component or writing its code fails; [`SandboxError::Unconfined`] where the host is for hostile guests
/// and the system does not confine this process.
pub fn compile_for_parent(arguments: &[String]) -> Result<(), SandboxError> {
    let fault = |text: String| SandboxError::Engine(text);
    let told = parse(arguments).ok_or_else(|| fault("arguments are for hosts only".into()))?;
    descriptors::close_inherited();
    end_with(told.host).map_err(|error| fault(format!("compiler cannot end with its host: {error}")))?;
    restrict(told.seconds, told.bytes).map_err(|error| fault(format!("limits could not be set: {error}")))?;
    let confined = confine_compiler();
    if let Some(missing) = confined.missing().filter(|_| told.options.hostile) {
        return Err(SandboxError::Unconfined { missing });
    }
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || answer(&told));
    let thread = thread.map_err(|error| {
        fault(format!("thread could not be started: {error}; load.compile_memory, or ulimit -v, may be too low"))
    })?;
    let answered = thread.join().map_err(|panic| {
        if is_out_of_memory(&*panic) {
            // Parts of the compiler panic where others abort: the host is told the same of both.
            std::process::abort();
        }
        fault("compiler panicked".into())
    })?;
    match answered {
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => std::process::abort(),
        answered => answered.map_err(|error| fault(error.to_string())),
    }
}

/// Has the system end this process when the thread ends that started it, which waits for it as long as the host lives.
fn end_with(host: u64) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let parent = getppid().map(|parent| parent.as_raw_nonzero().get());
    // One that ended before is not waited for any more.
    if parent.and_then(|parent| u64::try_from(parent).ok()) == Some(host) {
        return Ok(());
    }
    Err(io::Error::other("it ended"))
}

fn is_out_of_memory(panic: &(dyn Any + Send)) -> bool {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.is_some_and(|text| text.contains("out-of-memory") || text.contains("out of memory"))
}

fn parse(arguments: &[String]) -> Option<Told> {
    let [profile, numbers @ ..] = arguments else { return None };
    let numbers: Vec<u64> = numbers.iter().map(|number| number.parse()).collect::<Result<_, _>>().ok()?;
    let [hostile, memory_max, stack, seconds, bytes, componentize, host] = numbers[..] else {
        return None;
    };
    let options = EngineOptions {
        profile: if profile == "bounds" { Profile::Bounds } else { Profile::Guard },
        hostile: hostile == 1,
        memory_max: Size(memory_max),
        stack: Size(stack),
        ..EngineOptions::default()
    };
    let task = if componentize == 1 { Task::Componentize } else { Task::Compile };
    Some(Told { task, options, seconds, bytes, host })
}

fn restrict(seconds: u64, bytes: u64) -> rustix::io::Result<()> {
    let limit = |current, maximum| Rlimit { current: Some(current), maximum: Some(maximum) };
    // No more than the host itself may have.
    let bytes = getrlimit(Resource::As).maximum.map_or(bytes, |own| own.min(bytes));
    setrlimit(Resource::As, limit(bytes, bytes))?;
    // The first ends it with a signal that tells why; the second cannot be put off.
    setrlimit(Resource::Cpu, limit(seconds, seconds + 1))?;
    setrlimit(Resource::Core, limit(0, 0))?;
    // It has its pipes, and opens and writes no file.
    setrlimit(Resource::Fsize, limit(0, 0))?;
    setrlimit(Resource::Nofile, limit(16, 16))?;
    // A system that lets nobody lower his priority compiles all the same.
    let _ = nice(NICE);
    Ok(())
}

fn answer(told: &Told) -> io::Result<()> {
    let mut given = Vec::new();
    io::stdin().lock().read_to_end(&mut given)?;
    let (kind, bytes) = match told.task {
        Task::Compile => compiled(&told.options, &given)?,
        Task::Componentize => componentized(&given),
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(&[kind])?;
    stdout.write_all(&bytes)?;
    stdout.flush()
}

fn componentized(module: &[u8]) -> (u8, Vec<u8>) {
    // The host has scanned it under its own limits.
    let made = LoadLimits::none().scan(module);
    match made.and_then(|scanned| componentize::componentize(module, &scanned)) {
        Ok(component) => (DONE, component),
        Err(error) => match (needed(module), error) {
            (Some(proposals), _) => (NEEDS, proposals.into_bytes()),
            (None, LoadError::Componentize(text)) => (FAILED, cut(text).into_bytes()),
            (None, error) => (FAILED, cut(error.to_string()).into_bytes()),
        },
    }
}

fn compiled(options: &EngineOptions, component: &[u8]) -> io::Result<(u8, Vec<u8>)> {
    Ok(match compile_here(options, component) {
        Ok(Compiled { code, calls: Calls::Synchronous }) => (DONE, code),
        Ok(Compiled { code, calls: Calls::Asynchronous }) => (DONE_ASYNCHRONOUS, code),
        Err(LoadError::AsyncForHostile) => (ASYNC_FOR_HOSTILE, Vec::new()),
        Err(LoadError::Needs { proposals }) => (NEEDS, proposals.into_bytes()),
        Err(LoadError::Malformed(text)) => (FAILED, cut(text).into_bytes()),
        Err(error) => return Err(io::Error::other(error)),
    })
}
