//! The settings of the engines that all components of a host run on.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use wasmtime::{Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, WasmBacktraceDetails};

use super::zeroes;
use crate::guest::{Calls, Network};
use crate::limits::{LoadLimits, Size};

/// How much of a slot's memory, table and stack is kept for the next instance instead of being given back.
const MEMORY_RESIDENT_BYTES: usize = 4 << 20;
const TABLE_RESIDENT_BYTES: usize = 64 << 10;
const STACK_RESIDENT_BYTES: usize = 64 << 10;
/// Stack for functions of the host that guests call, beside that of the guest.
const HOST_STACK_BYTES: usize = 1536 << 10;
/// Stacks for each instance where components may be asynchronous.
const ASYNC_STACKS: u32 = 16;
/// The most messages that can be in one instance at a time.
///
/// # Examples
///
/// ```
/// use wasmpost_sandbox::{CONCURRENT_MAX, ReceiverOptions};
///
/// let options = ReceiverOptions { concurrent: CONCURRENT_MAX, ..ReceiverOptions::default() };
/// # drop(options);
/// ```
pub const CONCURRENT_MAX: u32 = 64;
/// The most messages that a component can get in one call.
///
/// # Examples
///
/// ```
/// use wasmpost_sandbox::BATCH_MAX;
///
/// let messages = vec!["a"; 600];
/// assert_eq!(messages.chunks(BATCH_MAX as usize).count(), 3);
/// ```
pub const BATCH_MAX: u32 = 256;
/// Frames of a guest's backtrace.
const FRAMES_MAX: usize = 20;
/// The most parts that one component may have in the pool.
const MEMORIES_MAX: u32 = 4;
const TABLES_MAX: u32 = 16;
const INSTANCE_BYTES_MAX: usize = 4 << 20;

/// Memory mappings of the process for each component, as measured, and what is left to everything else.
const MAPPINGS_EACH: usize = 4;
const MAPPINGS_LEFT: usize = 8_000;
/// How many mappings a process may have where the system does not say.
const MAPPINGS_MAX: usize = 65_530;

/// How the engine is set up.
///
/// # Examples
///
/// ```
/// use wasmpost_sandbox::{Compiler, EngineOptions, LoadLimits, Size};
///
/// let options = EngineOptions {
///     pool_instances: 16,
///     memory_max: Size(64 << 20),
///     cache_dir: Some("/var/cache/example".into()),
///     hostile: true,
///     load: LoadLimits { file: "8MiB".parse()?, ..LoadLimits::default() },
///     // A program of yours, which calls `compile_for_parent` when it is started with this argument.
///     compiler: Compiler::Child { program: "/usr/bin/example".into(), arguments: vec!["compile".into()] },
///     ..EngineOptions::default()
/// };
/// # drop(options);
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// How many instances can be live at a time. One more finds the host busy.
    pub pool_instances: u32,
    /// The most linear memory that any guest can be allowed.
    pub memory_max: Size,
    /// The most elements that tables of any guest can have.
    pub table_elements_max: u32,
    /// The stack of a guest.
    pub stack: Size,
    /// The directory in which compiled components are kept between runs; none keeps nothing.
    pub cache_dir: Option<PathBuf>,
    /// Whether guests of different owners may attack each other: stacks are zeroed between them, their clocks show
    /// milliseconds alone, and asynchronous components are not loaded.
    pub hostile: bool,
    /// How accesses of guests to memory are kept in bounds.
    pub profile: Profile,
    /// How many components are mapped at a time. Beyond, those that were not used for long are mapped again from the cache
    /// when they are used.
    pub components_mapped_max: usize,
    /// The limits for loading components.
    pub load: LoadLimits,
    /// The place where components are compiled.
    pub compiler: Compiler,
    /// How machine code is made.
    pub code: Code,
    /// How outgoing HTTP finds and trusts servers.
    pub network: Network,
}

/// How accesses of guests to memory are kept in bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// By guard pages: fast code, some work of the kernel for each instance.
    #[default]
    Guard,
    /// By explicit checks: slower code, instances without work of the kernel. Not for guests that attack each other.
    Bounds,
}

/// How machine code is made.
///
/// # Examples
///
/// ```
/// use wasmpost_sandbox::{Code, Compiler, EngineOptions, Profile};
///
/// // For trying components: compiled quickly in this process, with explicit checks of memory accesses.
/// let options = EngineOptions {
///     compiler: Compiler::InProcess,
///     code: Code::Quick,
///     profile: Profile::Bounds,
///     ..EngineOptions::default()
/// };
/// # drop(options);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Code {
    /// To run fast.
    #[default]
    Optimised,
    /// To be there soon, by all processors: for those who change a component and look at it. A child as the compiler
    /// optimises all the same.
    Quick,
}

/// The place where components are compiled.
///
/// # Examples
///
/// A program that compiles for its host, which starts it with
/// `Compiler::Child { program, arguments: vec!["compile".into()] }`:
///
/// ```
/// let arguments: Vec<String> = std::env::args().skip(1).collect();
/// match arguments.split_first() {
///     // Before anything else: it binds this process to limits.
///     Some((verb, rest)) if verb == "compile" => wasmpost_sandbox::compile_for_parent(rest)?,
///     _ => println!("what the program does otherwise"),
/// }
/// # Ok::<(), wasmpost_sandbox::SandboxError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Compiler {
    /// In this process, on the caller's thread: for components that one trusts.
    #[default]
    InProcess,
    /// In a process that runs a program which calls [`compile_for_parent`](crate::compile_for_parent) with the
    /// arguments behind these. It has limits of CPU time, memory and time, one thread, and the lowest priority,
    /// and is confined as far as the kernel can do that; for hostile guests it has to.
    Child {
        /// The program.
        program: PathBuf,
        /// The first arguments.
        arguments: Vec<OsString>,
    },
}

impl Default for EngineOptions {
    /// Sixty-four instances of up to 256 MiB, no cache, guard pages, as many components as the system allows.
    fn default() -> Self {
        Self {
            pool_instances: 64,
            memory_max: Size(256 << 20),
            table_elements_max: 200_000,
            stack: Size(512 << 10),
            cache_dir: None,
            hostile: false,
            profile: Profile::Guard,
            components_mapped_max: components_max(),
            load: LoadLimits::default(),
            compiler: Compiler::InProcess,
            code: Code::Optimised,
            network: Network::default(),
        }
    }
}

impl Compiler {
    /// A child that runs this very program with the hidden verb `compile-component`.
    pub fn this_program() -> Self {
        // The program that runs now, even if another version was installed in its place meanwhile.
        let itself = PathBuf::from("/proc/self/exe");
        let program = if itself.exists() { Some(itself) } else { std::env::current_exe().ok() };
        let child = |program| Self::Child { program, arguments: vec!["compile-component".into()] };
        program.map_or(Self::InProcess, child)
    }
}

/// How many components the system lets a process map.
fn components_max() -> usize {
    let told = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok();
    let mappings = told.and_then(|text| text.trim().parse().ok()).unwrap_or(MAPPINGS_MAX);
    (mappings.saturating_sub(MAPPINGS_LEFT) / MAPPINGS_EACH).max(1)
}

/// The settings of those who run components.
pub(crate) fn config_to_run(options: &EngineOptions, calls: Calls) -> Config {
    let mut config = config_to_compile(options, calls);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(options, calls)));
    config
}

/// The settings that machine code depends on: the same for compiling and for running it.
pub(crate) fn config_to_compile(options: &EngineOptions, calls: Calls) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(options.stack.bytes())
        .async_stack_size(options.stack.bytes().saturating_add(HOST_STACK_BYTES))
        .parallel_compilation(false)
        // Backtraces go by frame pointers; tables for other unwinders cost memory and time at loading.
        .native_unwind_info(false)
        .async_stack_zeroing(options.hostile)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(FRAMES_MAX))
        .memory_init_cow(options.profile == Profile::Guard);
    if options.code == Code::Quick && options.compiler == Compiler::InProcess {
        config.cranelift_opt_level(OptLevel::None).parallel_compilation(true);
    }
    // Features that few guests need and that many faults of engines needed. Several memories in one module are for what
    // the engine itself generates between the parts of a component; those of guests are refused before.
    let is_asynchronous = calls == Calls::Asynchronous;
    config
        .concurrency_support(is_asynchronous)
        .wasm_component_model_async(is_asynchronous)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_threads(false)
        .wasm_memory64(false)
        .wasm_stack_switching(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false);
    if options.profile == Profile::Bounds {
        config
            .signals_based_traps(false)
            .memory_reservation(options.memory_max.0)
            .memory_guard_size(0)
            .guard_before_linear_memory(false);
    }
    config
}

fn pool(options: &EngineOptions, calls: Calls) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    let instances = options.pool_instances.max(1);
    let is_change_told = zeroes::is_change_told();
    // One component alone fits into any pool: a host that is busy for ever would never tell that it is too small.
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(4).max(options.load.core_instances))
        .total_memories(memories(options))
        .total_tables(instances.saturating_mul(4).max(TABLES_MAX))
        .total_stacks(stacks(calls, instances))
        .total_gc_heaps(0)
        .max_core_instances_per_component(options.load.core_instances)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .max_memory_size(options.memory_max.bytes())
        .table_elements(options.table_elements_max as usize)
        .max_tables_per_module(TABLES_MAX)
        .decommit_batch_size(1)
        .pagemap_scan(if is_change_told { Enabled::Yes } else { Enabled::No })
        .linear_memory_keep_resident(if is_change_told { MEMORY_RESIDENT_BYTES } else { 0 })
        .table_keep_resident(TABLE_RESIDENT_BYTES)
        .async_stack_keep_resident(if options.hostile { STACK_RESIDENT_BYTES } else { 0 });
    pool
}

/// How many memories the pool has: one for each instance, and as many as a single component may have.
pub(crate) fn memories(options: &EngineOptions) -> u32 {
    options.pool_instances.max(MEMORIES_MAX)
}

/// An instance runs on one stack. Where several messages are in one, each that waits within a call of the host has its
/// own, which few do: waiting for something asynchronous takes none.
fn stacks(calls: Calls, instances: u32) -> u32 {
    match calls {
        Calls::Synchronous => instances,
        Calls::Asynchronous => instances.saturating_mul(ASYNC_STACKS).max(CONCURRENT_MAX.saturating_add(1)),
    }
}
