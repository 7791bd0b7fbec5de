//! Loading components: checked, made from core modules where need be, compiled or taken from the cache, linked.

mod cache;
mod child;
mod compile;
mod componentize;
mod descriptors;
mod known;
mod machine;
mod mapped;
mod proposals;
mod resident;
mod sandbox;
mod scan;
mod sealed;
mod tidy;

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::{Component, types, types::ComponentItem};

use crate::engine::Mapped;
use crate::error::LoadError;
use crate::file::{FileError, read_plain_file};
use crate::guest::Calls;
use crate::limits::LoadLimits;
use crate::worlds::{WORLDS, World};
pub use child::compile_for_parent;
use compile::Compiled;
use machine::Machine;
use resident::Code;
pub use sandbox::{Instances, Sandbox};
use scan::Scanned;

/// The grants without which imports are useless, by the start of their names.
const NEEDS: &[(&str, &str)] = &[
    ("wasmpost:messaging/topic", "topics to publish to"),
    ("wasi:config/store", "configuration, if it expects any"),
    ("wasi:http/outgoing-handler", "origins to request"),
    ("wasi:http/client", "origins to request"),
];

/// A component that was found in the cache or compiled.
struct Found {
    component: Component,
    machine: Arc<Machine>,
    calls: Calls,
    is_from_cache: bool,
    /// Its key in the cache.
    cached: Option<blake3::Hash>,
}

/// A component that can be run. Clones share it.
///
/// # Examples
///
/// ```
/// use wasmpost_sandbox::{EngineOptions, LoadError, LoadedComponent, Sandbox};
///
/// let sandbox = Sandbox::new(EngineOptions { pool_instances: 1, ..EngineOptions::default() })?;
/// let command = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#)?;
/// let loaded: LoadedComponent = sandbox.load(&command)?;
/// assert!(loaded.digest().starts_with("sha256:"));
/// assert_eq!(loaded.size_bytes(), command.len() as u64);
/// assert!(loaded.check_world(Some("wasi:cli/run"), 1).is_ok());
/// assert!(matches!(loaded.check_world(Some("wasi:cli/run"), 8), Err(LoadError::OneAtATime { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct LoadedComponent {
    loaded: Arc<Loaded>,
    is_from_cache: bool,
}

struct Loaded {
    digest: String,
    size_bytes: u64,
    worlds: Vec<&'static World>,
    imports: Vec<String>,
    version: Option<String>,
    code: Arc<Code>,
}

impl LoadedComponent {
    /// The digest of the file: `sha256:` and 64 hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.loaded.digest
    }

    /// The size of the file, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.loaded.size_bytes
    }

    /// The worlds that it implements and can receive messages by.
    pub fn worlds(&self) -> Vec<&'static str> {
        self.loaded.worlds.iter().map(|world| world.name).collect()
    }

    /// Whether it can receive by the world that is named, or by its only one, so many messages in an instance at a time.
    ///
    /// # Errors
    ///
    /// [`LoadError::OtherWorld`] where it does not implement the world, [`LoadError::SeveralWorlds`] where none is
    /// named and it implements several, [`LoadError::OneAtATime`] where the world takes no second message in an
    /// instance.
    pub fn check_world(&self, wanted: Option<&str>, concurrent: u32) -> Result<(), LoadError> {
        self.world_for(wanted, concurrent).map(drop)
    }

    /// Whether it gets several messages in one call by the world that is named, or by its only one.
    ///
    /// # Errors
    ///
    /// [`LoadError::OtherWorld`] and [`LoadError::SeveralWorlds`], as [`LoadedComponent::check_world`].
    pub fn takes_batches(&self, wanted: Option<&str>) -> Result<bool, LoadError> {
        self.world(wanted).map(|world| world.takes_batches)
    }

    /// The error of a component that takes no batches, for a `setting` that only receivers of batches have.
    pub fn no_batches(&self, wanted: Option<&str>, setting: &'static str) -> LoadError {
        let world = wanted.map_or_else(|| self.worlds().join(", "), str::to_owned);
        LoadError::NoBatches { world, setting }
    }

    /// Finds the world to use, which has to have so many messages in an instance at a time.
    pub(crate) fn world_for(&self, wanted: Option<&str>, concurrent: u32) -> Result<&'static World, LoadError> {
        let world = self.world(wanted)?;
        if concurrent > 1 && !world.takes_several {
            let world = wanted.map_or_else(|| self.worlds().join(", "), str::to_owned);
            return Err(LoadError::OneAtATime { world, concurrent });
        }
        Ok(world)
    }

    /// Finds the world to use: the one that is named, or the only one.
    fn world(&self, wanted: Option<&str>) -> Result<&'static World, LoadError> {
        let found = || self.worlds().join(", ");
        match (wanted, &*self.loaded.worlds) {
            (Some(wanted), worlds) => worlds
                .iter()
                .find(|world| world.is_called(wanted))
                .copied()
                .ok_or_else(|| LoadError::OtherWorld { wanted: wanted.to_owned(), found: found() }),
            (None, [only]) => Ok(only),
            (None, _) => Err(LoadError::SeveralWorlds { found: found() }),
        }
    }

    /// The interfaces that it imports.
    pub fn imports(&self) -> &[String] {
        &self.loaded.imports
    }

    /// The version that it says of itself.
    pub fn version(&self) -> Option<&str> {
        self.loaded.version.as_deref()
    }

    /// Whether it was compiled before.
    pub fn is_from_cache(&self) -> bool {
        self.is_from_cache
    }

    /// The grants without which its imports are useless.
    pub fn needs(&self) -> Vec<&'static str> {
        let imported = |start: &str| self.loaded.imports.iter().any(|import| import.starts_with(start));
        NEEDS.iter().filter(|(start, _)| imported(start)).map(|(_, need)| *need).collect()
    }

    /// The engine that runs it.
    pub(crate) fn engine(&self) -> &Engine {
        &self.loaded.code.machine.engine
    }

    /// Its code, mapped. The error says why the host cannot map it now.
    pub(crate) fn mapped(&self, sandbox: &Sandbox) -> Result<Arc<Mapped>, String> {
        self.loaded.code.mapped(sandbox, &self.loaded.worlds)
    }
}

/// The component that a file holds, or that is made of the core module in it, without compiling it. It is done in this
/// process: for files that one trusts.
///
/// # Errors
///
/// [`LoadError::NotWasm`], [`LoadError::Malformed`], [`LoadError::Limit`], [`LoadError::Needs`] or
/// [`LoadError::Componentize`], with what is wrong.
///
/// # Examples
///
/// ```
/// use wasmpost_sandbox::component_of;
///
/// let command = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#)?;
/// let component = component_of(&command)?;
/// assert_eq!(component_of(&component)?, component);
/// assert!(component_of(b"no WebAssembly").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn component_of(bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
    let scanned = LoadLimits::default().scan(bytes)?;
    if scanned.is_component { Ok(bytes.to_vec()) } else { componentize::componentize(bytes, &scanned) }
}

impl Sandbox {
    /// Loads a component from a file, which has to be a plain one.
    ///
    /// # Errors
    ///
    /// [`LoadError::Read`] where the file could not be read, and [`LoadError::In`] with the file and one of the errors
    /// of [`Sandbox::load`].
    pub fn load_file(&self, path: &Path) -> Result<LoadedComponent, LoadError> {
        let within = |fault| LoadError::In { path: path.to_owned(), fault: Box::new(fault) };
        let bytes = read_plain_file(path, self.options.load.file).map_err(|fault| match fault {
            FileError::TooLarge { max } => within(LoadError::too_large(max)),
            fault => LoadError::Read { path: path.to_owned(), fault },
        })?;
        self.load(&bytes).map_err(within)
    }

    /// Loads a component, or a core module that says which world it implements. Compiling takes tens of milliseconds
    /// for small components and seconds for those that bring an interpreter.
    ///
    /// # Errors
    ///
    /// [`LoadError::NotWasm`], [`LoadError::Malformed`], [`LoadError::Needs`], [`LoadError::Componentize`] and
    /// [`LoadError::NoReceiver`] where it cannot be used as it is; [`LoadError::Limit`] where it is larger than what is
    /// loaded, or takes longer to compile; [`LoadError::Compiler`], [`LoadError::Engine`] and [`LoadError::Mapped`]
    /// where the host is at fault; [`LoadError::AsyncForHostile`] where an asynchronous one is not for this host.
    pub fn load(&self, bytes: &[u8]) -> Result<LoadedComponent, LoadError> {
        self.load_whole(bytes).map_err(LoadError::cut)
    }

    fn load_whole(&self, bytes: &[u8]) -> Result<LoadedComponent, LoadError> {
        let key = Sha256::digest(bytes).into();
        // One that cannot be mapped any more is of no use to whoever loads it again, and is compiled anew.
        let known = self.known.find(&key).filter(|loaded| loaded.code.mapped(self, &loaded.worlds).is_ok());
        if let Some(loaded) = known {
            return Ok(LoadedComponent { loaded, is_from_cache: true });
        }
        let scanned = self.options.load.scan(bytes)?;
        let found = self.find(bytes, &scanned)?;
        let Found { component, machine, is_from_cache, .. } = &found;
        let types = component.component_type();
        let worlds = worlds(&types, &machine.engine)?;
        let imports = types.imports(&machine.engine).map(|(name, _)| name.to_owned()).collect();
        let pre = machine.linker.instantiate_pre(component).map_err(|error| LoadError::import(&error))?;
        let mapped = Mapped::new(pre, &worlds).map_err(|error| LoadError::malformed(&error))?;
        let digest = key.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"));
        let size_bytes = bytes.len() as u64;
        let version = scanned.version;
        let loaded = Arc::new(Loaded {
            digest,
            size_bytes,
            worlds,
            imports,
            version,
            code: self.residents.add(mapped, &found)?,
        });
        self.known.add(key, &loaded);
        Ok(LoadedComponent { loaded, is_from_cache: *is_from_cache })
    }

    /// The component of a file, from the cache or compiled.
    fn find(&self, bytes: &[u8], scanned: &Scanned) -> Result<Found, LoadError> {
        let hash = blake3::hash(bytes);
        if let Some(found) = self.find_cached(hash) {
            return Ok(found);
        }
        let made;
        let component = if scanned.is_component {
            bytes
        } else {
            componentize::check(scanned)?;
            made = self.options.compiler.componentize(&self.options, bytes)?;
            self.options.load.scan(&made)?;
            &made
        };
        let compiled = self.options.compiler.compile(&self.options, component)?;
        let is_kept = self.cache.as_ref().is_some_and(|cache| cache.keep(hash, &compiled));
        let Compiled { code, calls } = compiled;
        let machine = self.machine(calls)?;
        // The engine refuses what its pool has no room for.
        let component = machine.map(code).map_err(|error| LoadError::malformed(&error))?;
        Ok(Found { component, machine, calls, is_from_cache: false, cached: is_kept.then_some(hash) })
    }

    /// The component that was compiled before from the bytes with this hash, if the cache has it.
    fn find_cached(&self, hash: blake3::Hash) -> Option<Found> {
        let cache = self.cache.as_ref()?;
        let all = [Calls::Synchronous, Calls::Asynchronous].into_iter();
        let (calls, sealed) = all.filter_map(|calls| Some((calls, cache.find(hash, calls)?))).next()?;
        let machine = self.machine(calls).ok()?;
        let component = mapped::deserialize(&machine.engine, &sealed).ok()?;
        Some(Found { component, machine, calls, is_from_cache: true, cached: Some(hash) })
    }
}

/// The worlds of a component, told by what it exports.
fn worlds(types: &types::Component, engine: &Engine) -> Result<Vec<&'static World>, LoadError> {
    let exports: Vec<_> = types.exports(engine).map(|(name, item)| (name.to_owned(), item.ty)).collect();
    let is_told = |world: &World| {
        let is_instance = |item: &ComponentItem| matches!(item, ComponentItem::ComponentInstance(_));
        exports.iter().any(|(name, item)| world.is_told_by(name) && is_instance(item))
    };
    let found: Vec<_> = WORLDS.iter().filter(|world| is_told(world)).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let looked_for = WORLDS.iter().map(|world| world.export).collect::<Vec<_>>().join(", ");
    let names: Vec<_> = exports.iter().map(|(name, _)| name.as_str()).collect();
    let exports = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    Err(LoadError::NoReceiver { looked_for, exports })
}
