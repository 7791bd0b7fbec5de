//! The compiler's own process: what the host starts to compile one component.

use std::any::Any;
use std::ffi::OsString;
use std::io::{self, Read, Write};

use rustix::process::{Resource, Rlimit, nice, setrlimit};
use wasmtime::Engine;

use super::compile::needs_async;
use super::{LoadLimits, componentize};
use crate::{EngineOptions, LoadError, Profile, SandboxError, Size, engine};

/// How the answer begins: with machine code behind it, with the text of an error, or with nothing.
pub(super) const DONE: u8 = 0;
pub(super) const FAILED: u8 = 1;
pub(super) const NEEDS_ASYNC: u8 = 2;

/// The lowest priority.
const NICE: i32 = 19;
/// Stack for compiling, which goes deep where types nest deep.
const STACK_BYTES: usize = 16 << 20;

/// What a child does with what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Makes machine code of a component.
    Compile,
    /// Makes a component of a core module.
    Componentize,
}

/// What a host tells its child: the settings that machine code depends on, then the limits, then what to do.
pub(super) fn arguments(task: Task, options: &EngineOptions) -> Vec<OsString> {
    let profile = if options.profile == Profile::Bounds { "bounds" } else { "guard" };
    let seconds = options.load.compile_cpu.0.as_secs_f64().ceil() as u64;
    let numbers = [
        u64::from(options.hostile),
        u64::from(options.component_model_async),
        options.memory_max.0,
        options.stack.0,
        seconds.max(1),
        options.load.compile_memory.0,
        u64::from(task == Task::Componentize),
    ];
    std::iter::once(profile.into()).chain(numbers.map(|number| number.to_string().into())).collect()
}

/// Compiles the component on standard input, as a child of a host whose arguments these are, and writes the machine
/// code to standard output; or makes a component of a core module, if the arguments say so.
///
/// The limits bind this process before it reads anything.
pub fn compile_for_parent(arguments: &[String]) -> Result<(), SandboxError> {
    let fault = |text: String| SandboxError::Engine(text);
    let (task, options, seconds, bytes) =
        parse(arguments).ok_or_else(|| fault("arguments are for hosts only".into()))?;
    restrict(seconds, bytes).map_err(|error| fault(format!("limits could not be set: {error}")))?;
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || answer(task, &options));
    let answered = thread.map_err(SandboxError::Thread)?.join();
    let answered = answered.map_err(|panic| {
        if is_out_of_memory(&*panic) {
            // Parts of the compiler panic where others abort: the host is told the same of both.
            std::process::abort();
        }
        fault("compiler panicked".into())
    })?;
    answered.map_err(|error| fault(error.to_string()))
}

fn is_out_of_memory(panic: &(dyn Any + Send)) -> bool {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.is_some_and(|text| text.contains("out-of-memory") || text.contains("out of memory"))
}

fn parse(arguments: &[String]) -> Option<(Task, EngineOptions, u64, u64)> {
    let [profile, numbers @ ..] = arguments else { return None };
    let numbers: Vec<u64> = numbers.iter().map(|number| number.parse()).collect::<Result<_, _>>().ok()?;
    let [hostile, asynchronous, memory_max, stack, seconds, bytes, componentize] = numbers[..] else { return None };
    let options = EngineOptions {
        profile: if profile == "bounds" { Profile::Bounds } else { Profile::Guard },
        hostile: hostile == 1,
        component_model_async: asynchronous == 1,
        memory_max: Size(memory_max),
        stack: Size(stack),
        ..EngineOptions::default()
    };
    Some((if componentize == 1 { Task::Componentize } else { Task::Compile }, options, seconds, bytes))
}

fn restrict(seconds: u64, bytes: u64) -> rustix::io::Result<()> {
    let limit = |current, maximum| Rlimit { current: Some(current), maximum: Some(maximum) };
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

fn answer(task: Task, options: &EngineOptions) -> io::Result<()> {
    let mut given = Vec::new();
    io::stdin().lock().read_to_end(&mut given)?;
    let (kind, bytes) = match task {
        Task::Compile => compiled(options, &given)?,
        Task::Componentize => {
            // The host has scanned it under its own limits.
            let made = LoadLimits::none().scan(&given);
            match made.and_then(|scanned| componentize::componentize(&given, &scanned)) {
                Ok(component) => (DONE, component),
                Err(LoadError::Componentize(text)) => (FAILED, text.into_bytes()),
                Err(error) => (FAILED, error.to_string().into_bytes()),
            }
        }
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(&[kind])?;
    stdout.write_all(&bytes)?;
    stdout.flush()
}

fn compiled(options: &EngineOptions, component: &[u8]) -> io::Result<(u8, Vec<u8>)> {
    let engine = Engine::new(&engine::config_to_compile(options)).map_err(io::Error::other)?;
    Ok(match engine.precompile_component(component) {
        Ok(compiled) => (DONE, compiled),
        Err(_) if needs_async(options, component) => (NEEDS_ASYNC, Vec::new()),
        Err(error) => (FAILED, format!("{error:#}").into_bytes()),
    })
}
