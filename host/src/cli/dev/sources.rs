//! The files of a project: finds those that have changed. Events only wake it up; it compares all files with their
//! earlier state, so that no event can be missed and a file that was written as it was before is no change.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use inotify::{Inotify, WatchMask, Watches};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use wasmpost_msg::chain;

use super::ignored::Ignored;
use super::project::Project;
use crate::cli::Failure;

/// The events that say that files may have changed. Reading them is none.
const EVENTS: WatchMask = WatchMask::MODIFY
    .union(WatchMask::CLOSE_WRITE)
    .union(WatchMask::ATTRIB)
    .union(WatchMask::CREATE)
    .union(WatchMask::DELETE)
    .union(WatchMask::MOVE)
    .union(WatchMask::DELETE_SELF)
    .union(WatchMask::MOVE_SELF)
    .union(WatchMask::ONLYDIR);
/// How many bytes of events are read at a time.
const EVENT_BYTES: usize = 4096;
/// How long files have to stay as they are before a change counts, and how long that is waited for.
const QUIET: Duration = Duration::from_millis(40);
const QUIET_WAIT_MAX: Duration = Duration::from_secs(1);
/// The most files and directories that are looked at.
const FILES_MAX: usize = 20_000;
/// The largest file that is read to see whether it has changed; of others size and time tell.
const READ_BYTES_MAX: u64 = 1 << 20;
/// Times of files are this coarse, with some to spare: a file that was written later is read again.
const TIME_GRAIN: Duration = Duration::from_secs(2);

/// Files that have changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Files that the component may be built from.
    pub(super) sources: BTreeSet<PathBuf>,
    /// Samples.
    pub(super) samples: BTreeSet<PathBuf>,
    /// Whether the configuration has changed.
    pub(super) configuration: bool,
}

/// The files of a project, as they were when it was looked at them last.
pub(super) struct Sources {
    watches: Watches,
    woken: Arc<Notify>,
    directory: PathBuf,
    configuration: Option<PathBuf>,
    samples: Option<PathBuf>,
    ignored: Ignored,
    files: BTreeMap<PathBuf, Seen>,
    /// The directories that are watched; one that is made anew has another time of birth.
    watched: BTreeMap<PathBuf, Option<SystemTime>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    bytes: u64,
    modified: Option<SystemTime>,
    content: Option<u64>,
}

impl Changes {
    /// Whether nothing has changed.
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.samples.is_empty() && !self.configuration
    }
}

impl Sources {
    /// Looks at the files of a project, and watches them from now on.
    pub(super) fn new(project: &Project) -> Result<Self, Failure> {
        let unstarted = |error| unwatched(&project.directory, &error);
        let inotify = Inotify::init().map_err(unstarted)?;
        let watches = inotify.watches();
        let woken = Arc::new(Notify::new());
        let wake = Arc::clone(&woken);
        // It ends with the process, or when events cannot be read any more.
        let waiting = std::thread::Builder::new().name("sources".to_owned()).spawn(move || read(inotify, &wake));
        waiting.map_err(unstarted)?;
        let mut sources = Self {
            watches,
            woken,
            directory: project.directory.clone(),
            configuration: project.file.clone(),
            samples: project.samples.clone(),
            ignored: Ignored::of(project),
            files: BTreeMap::new(),
            watched: BTreeMap::new(),
        };
        sources.look()?;
        Ok(sources)
    }

    /// Takes over where the configuration says that samples and components are.
    pub(super) fn configured(&mut self, project: &Project) {
        self.samples.clone_from(&project.samples);
        self.ignored = Ignored::of(project);
    }

    /// Waits until a file has changed and all have come to rest.
    pub(super) async fn changed(&mut self) -> Result<Changes, Failure> {
        loop {
            self.woken.notified().await;
            let deadline = Instant::now() + QUIET_WAIT_MAX;
            while Instant::now() < deadline && timeout(QUIET, self.woken.notified()).await.is_ok() {}
            let changes = self.look()?;
            if !changes.is_empty() {
                return Ok(changes);
            }
        }
    }

    /// Looks at all files: those that have changed since the last time.
    pub(super) fn look(&mut self) -> Result<Changes, Failure> {
        let mut found = BTreeMap::new();
        self.walk(self.directory.clone(), &mut found)?;
        if let Some(samples) = self.samples.clone() {
            if samples.is_dir() {
                self.walk(samples, &mut found)?;
            } else {
                self.single(&samples, &mut found)?;
            }
        }
        if let Some(configuration) = self.configuration.clone() {
            self.single(&configuration, &mut found)?;
        }
        let mut changes = Changes::default();
        let before = std::mem::replace(&mut self.files, found);
        let gone = before.keys().filter(|path| !self.files.contains_key(*path));
        let differs = |(path, seen): &(&PathBuf, &Seen)| {
            before.get(*path).is_none_or(|old| {
                old.bytes != seen.bytes || old.content != seen.content || {
                    seen.content.is_none() && old.modified != seen.modified
                }
            })
        };
        for path in self.files.iter().filter(differs).map(|(path, _)| path).chain(gone) {
            let is_sample = self.samples.as_ref().is_some_and(|samples| path.starts_with(samples));
            if self.configuration.as_ref() == Some(path) {
                changes.configuration = true;
            } else if is_sample {
                changes.samples.insert(path.clone());
            } else {
                changes.sources.insert(path.clone());
            }
        }
        Ok(changes)
    }

    /// Looks at the files below a directory, and watches it and those within it.
    fn walk(&mut self, top: PathBuf, found: &mut BTreeMap<PathBuf, Seen>) -> Result<(), Failure> {
        let mut open = vec![top];
        while let Some(directory) = open.pop() {
            // One that is gone meanwhile has no files.
            let Ok(metadata) = directory.metadata() else { continue };
            self.watch(&directory, metadata.created().ok())?;
            let Ok(entries) = directory.read_dir() else { continue };
            for entry in entries.filter_map(Result::ok) {
                let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
                if kind.is_dir() {
                    open.extend((!self.ignored.directory(&path)).then_some(path));
                } else if !self.ignored.file(&path)
                    && let Some(seen) = self.seen(&path)
                {
                    found.insert(path, seen);
                }
                if found.len() + open.len() > FILES_MAX {
                    let place = self.directory.display();
                    let fault = format!("{place} has more than {FILES_MAX} files; name a smaller directory");
                    return Err(Failure::usage(anyhow::Error::msg(fault)));
                }
            }
        }
        Ok(())
    }

    /// Looks at one file, and watches the directory in which it lies.
    fn single(&mut self, path: &Path, found: &mut BTreeMap<PathBuf, Seen>) -> Result<(), Failure> {
        if let Some(directory) = path.parent()
            && let Ok(metadata) = directory.metadata()
        {
            self.watch(directory, metadata.created().ok())?;
        }
        if let Some(seen) = self.seen(path) {
            found.insert(path.to_owned(), seen);
        }
        Ok(())
    }

    fn watch(&mut self, directory: &Path, born: Option<SystemTime>) -> Result<(), Failure> {
        if self.watched.get(directory) == Some(&born) {
            return Ok(());
        }
        match self.watches.add(directory, EVENTS) {
            Ok(_) => {
                self.watched.insert(directory.to_owned(), born);
                Ok(())
            }
            Err(_) if !directory.exists() => Ok(()),
            Err(error) => Err(unwatched(directory, &error)),
        }
    }

    /// A plain file as it is now. It is read if size or time differ, or if it may have been written since without that.
    fn seen(&self, path: &Path) -> Option<Seen> {
        let metadata = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let bytes = metadata.len();
        let modified = metadata.modified().ok();
        let is_old = modified.and_then(|modified| modified.elapsed().ok()).is_some_and(|age| age > TIME_GRAIN);
        let known = self.files.get(path).filter(|old| is_old && old.bytes == bytes && old.modified == modified);
        let content = match known {
            Some(old) => old.content,
            None if bytes <= READ_BYTES_MAX => std::fs::read(path).ok().map(|content| hash(&content)),
            None => None,
        };
        Some(Seen { bytes, modified, content })
    }
}

fn hash(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(content);
    hasher.finish()
}

fn unwatched(path: &Path, error: &io::Error) -> Failure {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull => "; raise fs.inotify.max_user_watches",
        io::ErrorKind::QuotaExceeded => "; raise fs.inotify.max_user_instances",
        _ => "",
    };
    Failure::failed(anyhow::anyhow!("{} could not be watched: {error}{advice}", path.display()))
}

/// Wakes up the task that waits for events. Their contents do not matter: all files are looked at.
fn read(mut inotify: Inotify, wake: &Notify) {
    let mut buffer = [0; EVENT_BYTES];
    loop {
        match inotify.read_events_blocking(&mut buffer) {
            Ok(_) => wake.notify_one(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::error!(error = %chain(&error), "changes of files are not noticed any more");
                return;
            }
        }
    }
}
