//! Compiling: in a process of its own, so that a component made to be dear to compile costs nobody else anything.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use rustix::process::{Resource, getrlimit};
use wasmtime::Engine;

use super::child::{self, Task};
use super::componentize;
use super::proposals::{is_asynchronous, needed};
use crate::engine::{Compiler, EngineOptions, config_to_compile};
use crate::error::{LoadError, SandboxError, cut};
use crate::guest::Calls;
use crate::limits::{LoadLimits, Size};

/// The most machine code of one component, in bytes.
const COMPILED_BYTES_MAX: u64 = 1 << 30;
/// The most that is told of what the child wrote about itself, in bytes.
const WORDS_BYTES_MAX: u64 = 500;
/// Signals that end a process which used too much.
const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;
const SIGSEGV: i32 = 11;
const SIGXCPU: i32 = 24;
/// The signal that ends a process for a system call.
const SIGSYS: i32 = 31;

impl Compiler {
    /// Machine code of a component, for the engine that it needs.
    pub(super) fn compile(&self, options: &EngineOptions, component: &[u8]) -> Result<Compiled, LoadError> {
        match self {
            Self::InProcess => compile_here(options, component),
            Self::Child { .. } => self.answer(Task::Compile, options, component),
        }
    }

    /// A component of a core module. The code that reads the world of a module is not made for hostile modules, so it
    /// runs in the child as well, where it can do no harm.
    pub(super) fn componentize(&self, options: &EngineOptions, module: &[u8]) -> Result<Vec<u8>, LoadError> {
        match self {
            Self::InProcess => componentize::componentize(module, &options.load.scan(module)?)
                .map_err(|error| needed(module).map_or(error, |proposals| LoadError::Needs { proposals })),
            Self::Child { .. } => match self.answer(Task::Componentize, options, module) {
                Ok(made) => Ok(made.code),
                Err(LoadError::Malformed(text)) => Err(LoadError::Componentize(text)),
                Err(other) => Err(other),
            },
        }
    }

    /// The answer of a child.
    fn answer(&self, task: Task, options: &EngineOptions, bytes: &[u8]) -> Result<Compiled, LoadError> {
        let Self::Child { program, arguments } = self else {
            return Err(LoadError::Compiler("there is no program for it".into()));
        };
        let mut command = Command::new(program);
        command.args(arguments).args(child::arguments(task, options)).env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let running = command.spawn().map_err(|error| LoadError::Compiler(format!("not started: {error}")))?;
        answer_of(running, bytes, &options.load)
    }
}

/// Machine code, with how the component calls that it is of.
pub(super) struct Compiled {
    pub(super) code: Vec<u8>,
    pub(super) calls: Calls,
}

impl Compiled {
    fn new(code: &[u8], calls: Calls) -> Self {
        Self { code: code.to_vec(), calls }
    }
}

/// Compiles in this process. A component that is asynchronous is told by that it is valid as such alone.
pub(super) fn compile_here(options: &EngineOptions, component: &[u8]) -> Result<Compiled, LoadError> {
    let compile = |calls| {
        let engine = Engine::new(&config_to_compile(options, calls));
        let engine = engine.map_err(|error| LoadError::Engine(SandboxError::engine(&error)))?;
        let code = engine.precompile_component(component).map_err(|error| LoadError::malformed(&error))?;
        Ok(Compiled { code, calls })
    };
    match compile(Calls::Synchronous) {
        Err(LoadError::Malformed(_)) if is_asynchronous(component) => {
            if options.hostile {
                Err(LoadError::AsyncForHostile)
            } else {
                compile(Calls::Asynchronous)
            }
        }
        Err(LoadError::Malformed(text)) => {
            Err(needed(component).map_or(LoadError::Malformed(text), |proposals| LoadError::Needs { proposals }))
        }
        compiled => compiled,
    }
}

/// Hands the component to the child, and waits for its answer no longer than it may take.
fn answer_of(mut child: Child, component: &[u8], limits: &LoadLimits) -> Result<Compiled, LoadError> {
    let stdin = child.stdin.take();
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    let began = Instant::now();
    let (answered, answer) = mpsc::channel();
    let (read, words) = std::thread::scope(|scope| {
        scope.spawn(move || {
            // A child that ended early says why by its end.
            drop(stdin.map(|mut stdin| stdin.write_all(component)));
        });
        scope.spawn(move || {
            let mut bytes = Vec::new();
            let read = stdout.map(|stdout| stdout.take(COMPILED_BYTES_MAX).read_to_end(&mut bytes));
            // Nobody waits any more when the time is over.
            drop(answered.send((bytes, read)));
        });
        let words = scope.spawn(move || stderr.map(words_of).unwrap_or_default());
        let read = answer.recv_timeout(limits.compile_wall.0);
        if read.is_err() {
            // Ends the threads as well, which wait for its pipes.
            drop(child.kill());
        }
        (read, words.join().unwrap_or_default())
    });
    let status = child.wait().map_err(|error| LoadError::Compiler(error.to_string()))?;
    let Ok((bytes, _)) = read else {
        return Err(LoadError::Limit(format!("compiling took longer than {}", limits.compile_wall)));
    };
    tracing::debug!(bytes = component.len(), took = ?began.elapsed(), "compiled");
    match bytes.split_first() {
        Some((&child::DONE, code)) if status.success() => Ok(Compiled::new(code, Calls::Synchronous)),
        Some((&child::DONE_ASYNCHRONOUS, code)) if status.success() => Ok(Compiled::new(code, Calls::Asynchronous)),
        Some((&child::ASYNC_FOR_HOSTILE, _)) if status.success() => Err(LoadError::AsyncForHostile),
        Some((&child::NEEDS, proposals)) if status.success() => Err(LoadError::Needs { proposals: text_of(proposals) }),
        Some((&child::FAILED, text)) if status.success() => Err(LoadError::Malformed(text_of(text))),
        _ => Err(ended(status, &words, limits)),
    }
}

fn text_of(bytes: &[u8]) -> String {
    cut(String::from_utf8_lossy(bytes).into_owned())
}

/// The first words that the child wrote about itself. All is read, so that it never waits for a reader.
fn words_of(mut stderr: impl Read) -> String {
    let mut first = Vec::new();
    drop(stderr.by_ref().take(WORDS_BYTES_MAX).read_to_end(&mut first));
    drop(io::copy(&mut stderr, &mut io::sink()));
    let text = String::from_utf8_lossy(&first);
    text.trim().trim_start_matches("error: ").replace(char::is_control, " ")
}

fn ended(status: ExitStatus, words: &str, limits: &LoadLimits) -> LoadError {
    match status.signal() {
        Some(SIGXCPU | SIGKILL) => LoadError::Limit(format!(
            "compiling used more than {} of CPU time: raise load.compile_cpu to load it",
            limits.compile_cpu
        )),
        Some(SIGSYS) => LoadError::Compiler(
            "was ended for a system call that it may not make: the component may have taken it over".to_owned(),
        ),
        // An allocation that fails ends the process in one of these ways.
        Some(SIGABRT | SIGSEGV) => {
            let own = getrlimit(Resource::As).maximum.filter(|own| *own < limits.compile_memory.0);
            let (most, setting) = match own {
                Some(own) => (Size(own), "ulimit -v"),
                None => (limits.compile_memory, "load.compile_memory"),
            };
            let text = "of memory, or overflowed its stack: where it is memory, raise";
            LoadError::Limit(format!("compiling used more than {most} {text} {setting} to load it"))
        }
        _ if words.is_empty() => LoadError::Compiler(format!("ended with {status}")),
        _ => LoadError::Compiler(format!("ended with {status}: {words}")),
    }
}
