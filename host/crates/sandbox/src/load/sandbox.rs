//! The engine of a host with the components on it.

use std::path::Path;
use std::sync::Arc;

use wasmtime::Engine;
use wasmtime::component::Linker;

use super::cache::Cache;
use super::known::Known;
use super::resident::Residents;
use crate::engine::{EngineOptions, Places, Profile, Ticker, config_to_run};
use crate::error::SandboxError;
use crate::guest::{Connector, StoreState};
use crate::{imports, worlds};

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
