//! Mapping components into memory. The system lets a process have so many mappings and ends it badly beyond; what was
//! not used for long is therefore unmapped, and mapped again when it is: from the cache, or from a copy where there is
//! none.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};

use super::machine::Machine;
use super::sandbox::Sandbox;
use super::{Found, mapped};
use crate::engine::Mapped;
use crate::error::LoadError;
use crate::guest::Calls;
use crate::worlds::World;

/// Told where a component was unmapped and cannot be mapped again.
const GONE: &str = "component was unmapped, and is not in the cache any more: reload it";

/// The components that are mapped, in about the order in which they were last used.
pub(crate) struct Residents {
    max: usize,
    mapped: Mutex<VecDeque<Weak<Code>>>,
}

/// The machine code of a component.
enum Place {
    Mapped(Arc<Mapped>),
    /// In this process, because no cache has it.
    Aside(Vec<u8>),
    Cached,
}

/// The machine code of a component, mapped or not.
pub(crate) struct Code {
    /// The engine that runs it.
    pub(super) machine: Arc<Machine>,
    calls: Calls,
    place: RwLock<Place>,
    /// Its key in the cache.
    cached: Option<blake3::Hash>,
    /// Whether it was used since somebody last looked for one to unmap.
    is_used: AtomicBool,
}

impl Residents {
    pub(crate) fn new(max: usize) -> Self {
        Self { max: max.max(1), mapped: Mutex::default() }
    }

    /// Takes in what is mapped, in place of another if there are as many as may be.
    pub(super) fn add(&self, mapped: Mapped, found: &Found) -> Result<Arc<Code>, LoadError> {
        let place = RwLock::new(Place::Mapped(Arc::new(mapped)));
        let machine = Arc::clone(&found.machine);
        let calls = found.calls;
        let cached = found.cached;
        let code = Arc::new(Code { machine, calls, place, cached, is_used: AtomicBool::new(true) });
        if self.enter(&code) { Ok(code) } else { Err(LoadError::Mapped { max: self.max }) }
    }

    /// How many are mapped now.
    fn count(&self) -> usize {
        self.mapped.lock().iter().filter(|code| code.strong_count() > 0).count()
    }

    /// Says whether there is room, and makes some by unmapping another.
    fn enter(&self, code: &Arc<Code>) -> bool {
        let mut mapped = self.mapped.lock();
        if mapped.len() >= self.max {
            mapped.retain(|code| code.strong_count() > 0);
        }
        let unused = if mapped.len() >= self.max { take_unused(&mut mapped) } else { None };
        let has_room = mapped.len() < self.max;
        mapped.push_back(Arc::downgrade(code));
        drop(mapped);
        // Unmapping is work of the system, and of copying, for which nobody need wait.
        if let Some(unused) = unused {
            unused.unmap();
        }
        has_room
    }
}

/// Takes out the first that was not used since it was last looked at.
fn take_unused(mapped: &mut VecDeque<Weak<Code>>) -> Option<Arc<Code>> {
    // Each is looked at twice at most: the first time may be what makes it one that was not used.
    for _ in 0..2 * mapped.len() {
        let code = mapped.pop_front()?.upgrade();
        let Some(code) = code else { continue };
        if code.is_used.swap(false, Ordering::Relaxed) {
            mapped.push_back(Arc::downgrade(&code));
            continue;
        }
        return Some(code);
    }
    None
}

impl Code {
    /// The mapping; mapped again if it is not mapped now.
    pub(super) fn mapped(
        self: &Arc<Self>,
        sandbox: &Sandbox,
        worlds: &[&'static World],
    ) -> Result<Arc<Mapped>, String> {
        if !self.is_used.load(Ordering::Relaxed) {
            self.is_used.store(true, Ordering::Relaxed);
        }
        if let Place::Mapped(mapped) = &*self.place.read() {
            return Ok(Arc::clone(mapped));
        }
        let mut place = self.place.write();
        let component = match &*place {
            Place::Mapped(mapped) => return Ok(Arc::clone(mapped)),
            Place::Aside(compiled) => self.machine.map(compiled.clone()).map_err(|error| error.to_string())?,
            Place::Cached => {
                let sealed = self.cached.and_then(|hash| sandbox.cache.as_ref()?.find(hash, self.calls)).ok_or(GONE)?;
                mapped::deserialize(&self.machine.engine, &sealed).map_err(|error| error.to_string())?
            }
        };
        let pre = self.machine.linker.instantiate_pre(&component);
        let mapped = pre.and_then(|pre| Mapped::new(pre, worlds)).map_err(|error| error.to_string())?;
        let mapped = Arc::new(mapped);
        *place = Place::Mapped(Arc::clone(&mapped));
        drop(place);
        // There is always one that makes room: this one was unmapped before, and others came after it.
        sandbox.residents.enter(self);
        Ok(mapped)
    }

    /// Gives up the mapping. Those who use it now keep it until they are done.
    fn unmap(&self) {
        let mut place = self.place.write();
        let Place::Mapped(mapped) = &*place else { return };
        let left = match self.cached {
            Some(_) => Place::Cached,
            None => match mapped.pre.component().serialize() {
                Ok(compiled) => Place::Aside(compiled),
                // There is no memory for it: it stays, one more than there should be.
                Err(_) => return,
            },
        };
        let mapped = std::mem::replace(&mut *place, left);
        drop(place);
        drop(mapped);
    }
}

impl Sandbox {
    /// How many components are mapped now.
    pub fn components_mapped(&self) -> usize {
        self.residents.count()
    }
}
