//! The engine that all components of a host run on, and its settings.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use crate::error::SandboxError;
use crate::guest::{Connector, Network, StoreState};
use crate::limits::{LoadLimits, Size};
use crate::load::{Cache, Compiler, Known, Residents, components_max};
use crate::places::Places;
use crate::ticker::Ticker;
use crate::{imports, worlds};

/// How much of a slot's memory, table and stack is kept for the next instance instead of being given back.
const MEMORY_RESIDENT_BYTES: usize = 4 << 20;
const TABLE_RESIDENT_BYTES: usize = 64 << 10;
const STACK_RESIDENT_BYTES: usize = 64 << 10;
/// Stack for functions of the host that guests call, beside that of the guest.
const HOST_STACK_BYTES: usize = 1536 << 10;
/// Stacks for each instance where components may be asynchronous.
const ASYNC_STACKS: u32 = 16;
/// The most messages that can be in one instance at a time.
pub const CONCURRENT_MAX: u32 = 64;
/// Frames of a guest's backtrace.
const FRAMES_MAX: usize = 20;
/// What one component may consist of in the pool.
const MEMORIES_MAX: u32 = 4;
const TABLES_MAX: u32 = 16;
const INSTANCE_BYTES_MAX: usize = 4 << 20;

/// How the engine is set up.
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
    /// Where compiled components are kept between runs; nowhere if none.
    pub cache_dir: Option<PathBuf>,
    /// Whether guests of different owners may attack each other: stacks are zeroed between them, and
    /// their clocks show milliseconds alone.
    pub hostile: bool,
    /// Whether components may use WASI 0.3: asynchronous functions, and streams. It makes every call of every guest
    /// slower.
    pub component_model_async: bool,
    /// How accesses of guests to memory are kept in bounds.
    pub profile: Profile,
    /// How many components are mapped at a time. Beyond, those that were not used for long are mapped again from the cache
    /// when they are used.
    pub components_mapped_max: usize,
    /// What is loaded at all.
    pub load: LoadLimits,
    /// Where components are compiled.
    pub compiler: Compiler,
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

/// Loads components and runs them.
pub struct Sandbox {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<StoreState>,
    pub(crate) cache: Option<Cache>,
    cache_fault: Option<String>,
    pub(crate) connector: Arc<Connector>,
    pub(crate) options: EngineOptions,
    /// A place for each instance that the pool has.
    pub(crate) places: Places,
    /// The components that are mapped.
    pub(crate) residents: Residents,
    /// The components that are loaded.
    pub(crate) known: Known,
    /// Interrupts guests.
    pub(crate) ticker: Ticker,
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
            component_model_async: false,
            profile: Profile::Guard,
            components_mapped_max: components_max(),
            load: LoadLimits::default(),
            compiler: Compiler::InProcess,
            network: Network::default(),
        }
    }
}

impl Sandbox {
    /// An engine with its pool, and the functions of the host for guests.
    pub fn new(options: EngineOptions) -> Result<Arc<Self>, SandboxError> {
        if options.hostile && options.profile == Profile::Bounds {
            return Err(SandboxError::BoundsForHostile);
        }
        if options.hostile && options.component_model_async {
            return Err(SandboxError::AsyncForHostile);
        }
        let engine = Engine::new(&config_to_run(&options))
            .map_err(|error| SandboxError::pool(&error, options.pool_instances, options.memory_max))?;
        let mut linker = Linker::new(&engine);
        let offered = imports::add_to_linker(&mut linker, options.component_model_async)
            .and_then(|()| worlds::add_to_linker(&mut linker));
        offered.map_err(|error| SandboxError::engine(&error))?;
        let opened = options.cache_dir.as_deref().map(|directory| Cache::open(directory, &engine)).transpose();
        let (cache, cache_fault) = match opened {
            Ok(cache) => (cache, None),
            Err(fault) => (None, Some(unusable(&options, &fault))),
        };
        let connector = Arc::new(Connector::new(&options.network)?);
        let ticker = Ticker::start(engine.weak()).map_err(SandboxError::Thread)?;
        let places = Places::new(options.pool_instances);
        let residents = Residents::new(options.components_mapped_max);
        Ok(Arc::new(Self {
            engine,
            linker,
            cache,
            cache_fault,
            connector,
            options,
            places,
            residents,
            known: Known::default(),
            ticker,
        }))
    }

    /// Why compiled components are not kept, if they were to be.
    pub fn cache_fault(&self) -> Option<&str> {
        self.cache_fault.as_deref()
    }

    /// Has every guest that is running let others run.
    pub fn interrupt(&self) {
        self.engine.increment_epoch();
    }
}

/// What is told of a cache that cannot be used.
fn unusable(options: &EngineOptions, fault: &str) -> String {
    let directory = options.cache_dir.as_deref().unwrap_or(Path::new(""));
    let text = format!(
        "cache of compiled components at {directory:?} is not used, and components are compiled at every start: {fault}; \
         set host.cache_dir or XDG_CACHE_HOME to a directory that this user can write"
    );
    tracing::warn!("{text}");
    text
}

fn config_to_run(options: &EngineOptions) -> Config {
    let mut config = config_to_compile(options);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(options)));
    config
}

/// What machine code depends on: the same for those who compile and those who run it.
pub(crate) fn config_to_compile(options: &EngineOptions) -> Config {
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
    // What few guests need and many faults of engines needed. Several memories in one module are for what the engine
    // itself generates between the parts of a component; those of guests are refused before.
    config
        .concurrency_support(options.component_model_async)
        .wasm_component_model_async(options.component_model_async)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_threads(false)
        .wasm_memory64(false)
        .wasm_stack_switching(false)
        .wasm_custom_page_sizes(false);
    if options.profile == Profile::Bounds {
        config
            .signals_based_traps(false)
            .memory_reservation(options.memory_max.0)
            .memory_guard_size(0)
            .guard_before_linear_memory(false);
    }
    config
}

fn pool(options: &EngineOptions) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    let instances = options.pool_instances.max(1);
    let scans = PoolingAllocationConfig::is_pagemap_scan_available();
    // Without the scan, keeping memory means writing zeroes to all of it, which is slower than giving it back.
    let resident = if scans { MEMORY_RESIDENT_BYTES } else { 0 };
    // One component alone fits into any pool: a host that is busy for ever would never tell that it is too small.
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(4).max(options.load.core_instances))
        .total_memories(instances.max(MEMORIES_MAX))
        .total_tables(instances.saturating_mul(4).max(TABLES_MAX))
        .total_stacks(stacks(options, instances))
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
        .pagemap_scan(if scans { Enabled::Yes } else { Enabled::No })
        .linear_memory_keep_resident(resident)
        .table_keep_resident(TABLE_RESIDENT_BYTES)
        .async_stack_keep_resident(if options.hostile { STACK_RESIDENT_BYTES } else { 0 });
    pool
}

/// An instance runs on one stack. Where several messages are in one, each that waits within a call of the host has its
/// own, which few do: waiting for something asynchronous takes none.
fn stacks(options: &EngineOptions, instances: u32) -> u32 {
    if options.component_model_async {
        instances.saturating_mul(ASYNC_STACKS).max(CONCURRENT_MAX.saturating_add(1))
    } else {
        instances
    }
}
