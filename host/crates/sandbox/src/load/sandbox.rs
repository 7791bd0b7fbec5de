//! The engines of a host with the components on them.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::cache::Cache;
use super::known::Known;
use super::machine::Machine;
use super::resident::Residents;
use crate::confine::Kernel;
use crate::engine::{Compiler, EngineOptions, Places, Profile, Ticker};
use crate::error::{LoadError, SandboxError};
use crate::guest::{Calls, Connector};

/// Loads components and runs them.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use wasmpost_msg::{Attributes, Message, Receiver};
/// use wasmpost_sandbox::{EngineOptions, ReceiverOptions, Sandbox, Size, WasmReceiver};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sandbox = Sandbox::new(EngineOptions {
///     pool_instances: 2,
///     memory_max: Size(16 << 20),
///     ..EngineOptions::default()
/// })?;
///
/// // A command of WASI that does nothing; a component would be read with `load_file`.
/// let command = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#)?;
/// let loaded = sandbox.load(&command)?;
/// assert_eq!(loaded.worlds(), ["wasi:cli/command@0.2"]);
///
/// let receiver = WasmReceiver::new(Arc::clone(&sandbox), loaded, ReceiverOptions::default())?;
/// receiver.receive(Message::new(Attributes::new(), "hello")).await?;
/// # Ok(())
/// # }
/// ```
pub struct Sandbox {
    synchronous: Arc<Machine>,
    /// Made when the first asynchronous component comes.
    asynchronous: Mutex<Option<Arc<Machine>>>,
    pub(crate) cache: Option<Cache>,
    cache_fault: Option<String>,
    confinement_fault: Option<String>,
    pub(crate) connector: Arc<Connector>,
    pub(crate) options: EngineOptions,
    /// A place for each instance that there may be, whichever engine it runs on.
    pub(crate) places: Places,
    /// The components that are mapped.
    pub(crate) residents: Residents,
    /// The components that are loaded.
    pub(crate) known: Known,
    /// Interrupts guests.
    pub(crate) ticker: Ticker,
}

/// The instances of a sandbox at a time.
///
/// # Examples
///
/// ```
/// use wasmpost_sandbox::{EngineOptions, Instances, Sandbox};
///
/// let sandbox = Sandbox::new(EngineOptions { pool_instances: 4, ..EngineOptions::default() })?;
/// assert_eq!(sandbox.instances(), Instances { max: 4, in_use: 0, waited_for: 0 });
/// # Ok::<(), wasmpost_sandbox::SandboxError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instances {
    /// How many can be live.
    pub max: usize,
    /// How many are live, those that wait for another message included.
    pub in_use: usize,
    /// How many deliveries wait for one.
    pub waited_for: usize,
}

impl Sandbox {
    /// An engine with its pool, and the functions of the host for guests. The one for asynchronous components is made when
    /// the first of them comes.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Addresses`] where the system does not give the addresses that so many instances need,
    /// [`SandboxError::BoundsForHostile`] and [`SandboxError::Engine`] where settings do not fit together,
    /// [`SandboxError::Network`] for a certificate that cannot be used, and [`SandboxError::Thread`] where the system
    /// starts no thread. A cache that cannot be used is no error: [`Sandbox::cache_fault`] tells it.
    pub fn new(options: EngineOptions) -> Result<Arc<Self>, SandboxError> {
        if options.hostile && options.profile == Profile::Bounds {
            return Err(SandboxError::BoundsForHostile);
        }
        let confinement_fault = check_confinement(&options)?;
        let synchronous = Arc::new(Machine::new(&options, Calls::Synchronous)?);
        let opened = options.cache_dir.as_deref().map(|directory| Cache::open(directory, &options)).transpose();
        let (cache, cache_fault) = match opened {
            Ok(cache) => (cache, None),
            Err(fault) => (None, Some(unusable(&options, &fault))),
        };
        let connector = Arc::new(Connector::new(&options.network)?);
        let ticker = Ticker::start(synchronous.engine.weak()).map_err(SandboxError::Thread)?;
        let places = Places::new(options.pool_instances);
        let residents = Residents::new(options.components_mapped_max);
        Ok(Arc::new(Self {
            synchronous,
            asynchronous: Mutex::default(),
            cache,
            cache_fault,
            confinement_fault,
            connector,
            options,
            places,
            residents,
            known: Known::default(),
            ticker,
        }))
    }

    /// The reason why compiled components are not kept, although they should be.
    pub fn cache_fault(&self) -> Option<&str> {
        self.cache_fault.as_deref()
    }

    /// The reason why the compiler of components is not confined, if it is a process of its own.
    pub fn confinement_fault(&self) -> Option<&str> {
        self.confinement_fault.as_deref()
    }

    /// How many instances are live, and how many are waited for.
    pub fn instances(&self) -> Instances {
        let max = self.options.pool_instances as usize;
        let (free, waited_for) = self.places.load();
        Instances { max, in_use: max.saturating_sub(free), waited_for }
    }

    /// Has every guest that is running let others run.
    pub fn interrupt(&self) {
        self.synchronous.engine.increment_epoch();
        if let Some(machine) = &*self.asynchronous.lock() {
            machine.engine.increment_epoch();
        }
    }

    /// The engine for components that call like this.
    pub(super) fn machine(&self, calls: Calls) -> Result<Arc<Machine>, LoadError> {
        if calls == Calls::Synchronous {
            return Ok(Arc::clone(&self.synchronous));
        }
        if self.options.hostile {
            return Err(LoadError::AsyncForHostile);
        }
        let mut place = self.asynchronous.lock();
        if let Some(machine) = &*place {
            return Ok(Arc::clone(machine));
        }
        let machine = Machine::new(&self.options, calls).map(Arc::new).map_err(LoadError::Engine)?;
        self.ticker.tick(machine.engine.weak());
        Ok(Arc::clone(place.insert(machine)))
    }
}

/// The warning about a compiler that cannot be confined, if guests are not hostile. A compiler in this process is never
/// confined.
fn check_confinement(options: &EngineOptions) -> Result<Option<String>, SandboxError> {
    if options.compiler == Compiler::InProcess {
        return Ok(None);
    }
    let Some(missing) = Kernel::probe().missing() else { return Ok(None) };
    if options.hostile {
        return Err(SandboxError::Unconfined { missing });
    }
    let text = format!(
        "compiler of components is not fully confined, because {missing} cannot be used here: Linux 5.13 or newer has it, \
         and a container may have to allow it"
    );
    tracing::warn!("{text}");
    Ok(Some(text))
}

/// The warning about a cache that cannot be used.
fn unusable(options: &EngineOptions, fault: &str) -> String {
    let directory = options.cache_dir.as_deref().unwrap_or(Path::new(""));
    let text = format!(
        "cache of compiled components at {directory:?} is not used, and components are compiled at every start: {fault}; \
         set host.cache_dir or XDG_CACHE_HOME to a directory that this user can write"
    );
    tracing::warn!("{text}");
    text
}
