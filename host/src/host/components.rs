//! Loading the components that a configuration names, several at a time.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use wasmpost_sandbox::{LoadError, LoadedComponent, Sandbox};

use super::HostError;
use crate::config::{Config, ReceiverConfig};

/// Components by file, each loaded once.
pub type Components = HashMap<PathBuf, LoadedComponent>;

/// Loads every component that the configuration names. The first in its order that cannot be loaded is the error.
pub(super) fn load_components(sandbox: &Sandbox, config: &Config) -> Result<Components, HostError> {
    let mut receivers: BTreeMap<&PathBuf, &ReceiverConfig> = BTreeMap::new();
    for receiver in &config.receivers {
        receivers.entry(&receiver.component).or_insert(receiver);
    }
    let paths: Vec<&PathBuf> = receivers.keys().copied().collect();
    let loaded = load_all(sandbox, &paths);
    let mut components = Components::new();
    let mut failed: BTreeMap<&PathBuf, LoadError> = BTreeMap::new();
    for (path, loaded) in paths.iter().zip(loaded) {
        match loaded {
            Ok(loaded) => drop(components.insert((*path).clone(), loaded)),
            Err(error) => drop(failed.insert(*path, error)),
        }
    }
    for receiver in &config.receivers {
        if let Some(source) = failed.remove(&receiver.component) {
            return Err(HostError::of_component(receiver, source));
        }
        let loaded = components.get(&receiver.component);
        if let Some(source) =
            loaded.and_then(|loaded| loaded.check_world(receiver.world.as_deref(), receiver.concurrent).err())
        {
            return Err(HostError::of_component(receiver, source));
        }
    }
    Ok(components)
}

/// Loads files on as many threads as there are processors, and gives what became of each, in their order.
fn load_all(sandbox: &Sandbox, paths: &[&PathBuf]) -> Vec<Result<LoadedComponent, LoadError>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(paths.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(path) = paths.get(place) else { return };
                    let loaded = sandbox.load_file(path);
                    results.lock().insert(place, loaded);
                }
            });
        }
    });
    results.into_inner().into_values().collect()
}
