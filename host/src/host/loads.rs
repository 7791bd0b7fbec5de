//! Loading components again while a host serves: each has its own time, so that none keeps the others from being loaded.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedMutexGuard, Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

/// How many components are loaded at a time, at least: more than one tenant can hold up.
const AT_A_TIME_MIN: usize = 4;

/// Loads components, one at a time for each owner, on threads that nobody has to wait for.
pub(super) struct Loads {
    places: Arc<Semaphore>,
    owners: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// Held while a file is loaded, also by a thread that nobody waits for any more.
    files: Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
}

/// The reason why nothing was loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotLoaded {
    /// It took too long.
    #[error("it could not be loaded within {0:?}; reload again when it can be read")]
    TooLong(Duration),
    /// Others before it took too long.
    #[error("its turn did not come within {0:?}; reload again")]
    NoTurn(Duration),
    /// An earlier load has not ended.
    #[error("it has been loading since an earlier reload; see that the file can be read")]
    StillLoading,
    /// There are no threads left.
    #[error("no thread could be started to load it")]
    NoThread(#[source] std::io::Error),
}

/// A loaded file. While it is held, the file is not loaded again.
pub(super) struct LoadedFile<T> {
    pub(super) loaded: T,
    _guard: OwnedMutexGuard<()>,
}

impl Default for Loads {
    fn default() -> Self {
        let at_a_time = std::thread::available_parallelism().map_or(1, usize::from).max(AT_A_TIME_MIN);
        Self { places: Arc::new(Semaphore::new(at_a_time)), owners: Mutex::default(), files: Mutex::default() }
    }
}

impl Loads {
    /// Loads a file of an owner. Its turn has to come within `patience`, and then it may take `time`.
    pub(super) async fn load<T: Send + 'static>(
        &self,
        owner: &str,
        file: &Path,
        patience: Duration,
        time: Duration,
        load: impl FnOnce() -> T + Send + 'static,
    ) -> Result<LoadedFile<T>, NotLoaded> {
        let no_turn = |_| NotLoaded::NoTurn(patience);
        let turn = Instant::now() + patience;
        let own = Arc::clone(self.owners.lock().entry(owner.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(1))));
        let _own = timeout_at(turn, own.acquire_owned()).await.map_err(no_turn)?;
        let lock = Arc::clone(self.files.lock().entry(file.to_owned()).or_default());
        // It is only held here by a load that was given up, or by a second reload, which is soon done.
        let guard = timeout_at(turn.min(Instant::now() + time), lock.lock_owned()).await;
        let guard = guard.map_err(|_| NotLoaded::StillLoading)?;
        let _place = timeout_at(turn, Arc::clone(&self.places).acquire_owned()).await.map_err(no_turn)?;
        let (answer, answered) = oneshot::channel();
        let loading = move || drop(answer.send(LoadedFile { loaded: load(), _guard: guard }));
        std::thread::Builder::new().name("load".into()).spawn(loading).map_err(NotLoaded::NoThread)?;
        match tokio::time::timeout(time, answered).await {
            Ok(Ok(loaded)) => Ok(loaded),
            Ok(Err(_)) | Err(_) => Err(NotLoaded::TooLong(time)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(60);

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(test);
    }

    #[test]
    fn a_file_that_never_ends_is_given_up_and_keeps_nobody_else_from_loading() {
        run(async {
            let loads = Loads::default();
            let (never, ends) = std::sync::mpsc::channel::<()>();
            let ends = Arc::new(Mutex::new(ends));
            let stuck = |file: String, time| {
                let ends = Arc::clone(&ends);
                let loads = &loads;
                async move {
                    loads.load("a", Path::new(&file), LONG, time, move || ends.lock().recv().is_ok()).await.is_err()
                }
            };
            assert!(stuck("stuck".to_owned(), SHORT).await);
            // More files of one owner than are loaded at a time, none of which comes to an end.
            let count = 2 * loads.places.available_permits();
            let all = futures::future::join_all((0..count).map(|number| stuck(format!("stuck{number}"), LONG)));
            let other = tokio::select! {
                biased;
                _ = all => None,
                other = loads.load("b", Path::new("good"), LONG, LONG, || 7) => other.ok(),
            };
            assert_eq!(other.map(|loaded| loaded.loaded), Some(7));
            // It is not begun anew while it goes on, and is loaded once it has ended.
            let again = loads.load("a", Path::new("stuck"), LONG, SHORT, || 8).await;
            assert!(matches!(again, Err(NotLoaded::StillLoading)));
            drop(never);
            let again = loads.load("a", Path::new("stuck"), LONG, LONG, || 8).await;
            assert_eq!(again.map(|loaded| loaded.loaded).ok(), Some(8));
        });
    }

    #[test]
    fn a_file_is_not_loaded_while_what_was_loaded_of_it_is_put_in_place() {
        run(async {
            let loads = Loads::default();
            let first = loads.load("a", Path::new("file"), LONG, LONG, || 1).await.ok().unwrap();
            assert!(loads.load("a", Path::new("file"), LONG, SHORT, || 2).await.is_err());
            drop(first);
            assert!(loads.load("a", Path::new("file"), LONG, LONG, || 2).await.is_ok());
        });
    }
}
