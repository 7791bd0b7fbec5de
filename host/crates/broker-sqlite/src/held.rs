//! The lock of a queue file. It is on the file itself, so that every process that opens the file meets it, under any
//! name: through symbolic links, other directories and other mounts.
//!
//! SQLite's own locks on the file are dropped by the system as soon as the process closes any descriptor of it. So a
//! descriptor of a file that this process has open is closed only after SQLite has closed the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;
use wasmpost_delivery::{BrokerError, BrokerErrorKind};

/// The flag that opens a file neither for reading nor for writing; closing such a descriptor drops no locks.
const O_PATH: i32 = 0o10_000_000;
/// The most symbolic links that may follow one another, as in the kernel.
const LINKS_MAX: usize = 40;
/// The most times that a file may be replaced by another one while it is opened.
const REPLACED_MAX: usize = 8;

/// Files that this process has locked, and descriptors of them that are to be closed after SQLite's.
static LOCKED: Mutex<Locked> = Mutex::new(Locked { files: BTreeSet::new(), parked: BTreeMap::new() });

struct Locked {
    files: BTreeSet<Identity>,
    parked: BTreeMap<Identity, Vec<File>>,
}

/// The identity of a file, independent of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    device: u64,
    number: u64,
}

/// A queue file that this process keeps locked until this is dropped. SQLite must have closed the file by then.
pub(crate) struct Held {
    found: Found,
    /// The write-ahead log that belongs to it, once there is one.
    log: OnceLock<Identity>,
}

/// A file that was opened to look at it.
pub(crate) struct Seen {
    /// Without symbolic links.
    pub(crate) path: PathBuf,
    /// Closed after SQLite has closed the file.
    pub(crate) file: File,
    /// Whether no process has it, and none can get it while the descriptor is open.
    pub(crate) is_quiet: bool,
}

/// A file that was opened to be locked.
struct Found {
    /// Without symbolic links.
    path: PathBuf,
    identity: Identity,
    /// `Some` until this is dropped.
    file: Option<File>,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), number: metadata.ino() }
    }

    fn at(path: &Path) -> Option<Self> {
        path.metadata().ok().map(|metadata| Self::of(&metadata))
    }
}

/// The path of a file without symbolic links. The file need not exist, but its directory must.
///
/// # Errors
///
/// That of the system if the directory does not exist or cannot be read, and one if there are too many links.
///
/// # Examples
///
/// ```
/// use std::path::Path;
///
/// use wasmpost_broker_sqlite::resolved;
///
/// let directory = tempfile::tempdir()?;
/// std::os::unix::fs::symlink("queue.db", directory.path().join("link"))?;
/// let file = directory.path().canonicalize()?.join("queue.db");
/// assert_eq!(resolved(&directory.path().join("link"))?, file);
/// assert!(resolved(Path::new("/does/not/exist/queue.db")).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn resolved(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Some(name) = path.file_name().map(ToOwned::to_owned) else { return path.canonicalize() };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let parent = parent.canonicalize()?;
        path = parent.join(name);
        match path.read_link() {
            Ok(target) => path = parent.join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

/// Locks a file, which is made if it is missing. An error if another process has it.
#[cfg(feature = "prove")]
pub(crate) fn at_once(path: &Path) -> Result<Held, BrokerError> {
    for _ in 0..REPLACED_MAX {
        match Found::at(path)?.try_lock()? {
            Ok(found) if found.is_at(path) => return found.held(),
            Ok(_) => {}
            Err(found) => return Err(in_use(&found.path, "stop it, or try again later")),
        }
    }
    Err(replaced(path))
}

/// The same, but waits for at most `patience` for the processes that have it or already wait for it. They get it in the
/// order in which they came.
pub(crate) async fn in_turn(path: &Path, patience: Duration) -> Result<Held, BrokerError> {
    let deadline = Instant::now() + patience;
    for _ in 0..REPLACED_MAX {
        let found = match Found::at(path)?.try_lock()? {
            Ok(found) => found,
            // A file with other names would be refused once it is free as well.
            Err(found) if patience.is_zero() || found.has_other_names() => {
                return Err(in_use(&found.path, "stop it, or try again later"));
            }
            Err(found) => {
                let resolved = found.path.clone();
                let waited = tokio::time::timeout_at(deadline, found.wait()).await;
                let none = |_| in_use(&resolved, &format!("it was not free after {patience:?}, try again"));
                waited.map_err(none)??
            }
        };
        if found.is_at(path) {
            return found.held();
        }
    }
    Err(replaced(path))
}

/// Opens a file to look at it, without making or changing anything.
pub(crate) fn seen(path: &Path) -> Result<Seen, BrokerError> {
    let metadata = path.metadata().map_err(|error| unusable(path, error))?;
    if !metadata.is_file() {
        return Err(refused(path, "is not a plain file; name another one"));
    }
    check_unlocked(path, Identity::of(&metadata))?;
    let file = File::open(path).map_err(|error| unusable(path, error))?;
    let path = path.canonicalize().map_err(|error| unusable(path, error))?;
    check_alone(&file, &path)?;
    check_mount(&file, &path)?;
    let is_quiet = match file.try_lock_shared() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(error)) => return Err(unusable(&path, error)),
    };
    Ok(Seen { path, file, is_quiet })
}

/// An error if the file has other names: its log could be beside any of them.
fn check_alone(file: &File, path: &Path) -> Result<(), BrokerError> {
    let links = file.metadata().map_err(|error| unusable(path, error))?.nlink();
    if links > 1 {
        let fault = format!("has {links} names (hard links), but its log is beside only one; remove the others");
        return Err(refused(path, &fault));
    }
    Ok(())
}

/// An error if the file alone is a mount point.
fn check_mount(file: &File, path: &Path) -> Result<(), BrokerError> {
    if is_mount_point(file, path) {
        let fault = "is a mount point, so that its log would not be beside it; mount its directory instead";
        return Err(refused(path, fault));
    }
    Ok(())
}

fn in_use(path: &Path, advice: &str) -> BrokerError {
    let context = format!("queue file {} is in use by another process; {advice}", path.display());
    BrokerError::new(BrokerErrorKind::InUse, context)
}

/// An error if this process has locked the file.
fn check_unlocked(path: &Path, identity: Identity) -> Result<(), BrokerError> {
    if LOCKED.lock().files.contains(&identity) {
        let context = format!("queue file {} is already in use by this process", path.display());
        return Err(BrokerError::new(BrokerErrorKind::InUse, context));
    }
    Ok(())
}

fn replaced(path: &Path) -> BrokerError {
    let context = format!("queue file {} is being replaced again and again; find the cause", path.display());
    BrokerError::new(BrokerErrorKind::Unavailable, context)
}

pub(crate) fn unusable(path: &Path, error: io::Error) -> BrokerError {
    let context = format!("queue file {} cannot be opened; check its directory and permissions", path.display());
    BrokerError::new(BrokerErrorKind::Invalid, context).caused_by(error)
}

fn refused(path: &Path, fault: &str) -> BrokerError {
    BrokerError::new(BrokerErrorKind::Invalid, format!("queue file {} {fault}", path.display()))
}

impl Found {
    fn at(path: &Path) -> Result<Self, BrokerError> {
        if path.file_name().is_none() {
            return Err(refused(path, "names no file"));
        }
        if let Ok(metadata) = path.metadata() {
            if !metadata.is_file() {
                // A pipe or a device is not opened, because opening it could block for ever.
                return Err(refused(path, "is not a plain file; name another one"));
            }
            check_unlocked(path, Identity::of(&metadata))?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(|error| unusable(path, error))?;
        let identity = file.metadata().map(|metadata| Identity::of(&metadata));
        let identity = identity.map_err(|error| unusable(path, error))?;
        // From here on the file exists, and so does the target of any link.
        let mut found = Self { path: path.to_owned(), identity, file: Some(file) };
        found.path = path.canonicalize().map_err(|error| unusable(path, error))?;
        if let Some(file) = &found.file {
            check_mount(file, &found.path)?;
        }
        Ok(found)
    }

    /// The file with its lock, or without it if another process has the lock.
    fn try_lock(self) -> Result<Result<Self, Self>, BrokerError> {
        check_unlocked(&self.path, self.identity)?;
        match self.file.as_ref().map(File::try_lock) {
            Some(Err(TryLockError::Error(error))) => Err(unusable(&self.path, error)),
            Some(Err(TryLockError::WouldBlock)) => Ok(Err(self)),
            _ => Ok(Ok(self)),
        }
    }

    fn has_other_names(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.metadata().is_ok_and(|metadata| metadata.nlink() > 1))
    }

    /// Waits for the lock on a thread of its own. If the caller is gone meanwhile, the thread goes on and releases the
    /// file as soon as it has it.
    async fn wait(self) -> Result<Self, BrokerError> {
        let path = self.path.clone();
        let (locked, waiting) = oneshot::channel();
        let wait = move || {
            let result = self.file.as_ref().map_or(Ok(()), File::lock).map(|()| self);
            // A caller that gave up has no use for it.
            drop(locked.send(result));
        };
        let thread = std::thread::Builder::new().name("wasmpost-turn".into());
        thread.spawn(wait).map_err(|error| unusable(&path, error))?;
        let cut_off = |_| io::Error::other("waiting was cut off");
        waiting.await.map_err(cut_off).flatten().map_err(|error| unusable(&path, error))
    }

    /// Whether the path still leads to it.
    fn is_at(&self, path: &Path) -> bool {
        Identity::at(path) == Some(self.identity) && Identity::at(&self.path) == Some(self.identity)
    }

    /// Takes the file over, if there is only one place for its log.
    fn held(self) -> Result<Held, BrokerError> {
        let Some(file) = &self.file else { return Err(replaced(&self.path)) };
        check_alone(file, &self.path)?;
        LOCKED.lock().files.insert(self.identity);
        Ok(Held { found: self, log: OnceLock::new() })
    }
}

impl Drop for Found {
    fn drop(&mut self) {
        let mut locked = LOCKED.lock();
        if let Some(file) = self.file.take()
            && locked.files.contains(&self.identity)
        {
            locked.parked.entry(self.identity).or_default().push(file);
        }
    }
}

impl Held {
    /// The path without symbolic links.
    pub(crate) fn path(&self) -> &Path {
        &self.found.path
    }

    /// Whether its path still leads to it, and its log is still in place. Costs two calls of `stat`.
    pub(crate) fn is_in_place(&self) -> bool {
        let log = Identity::at(&with_suffix(&self.found.path, "-wal"));
        let is_its_log = |log: Identity| *self.log.get_or_init(|| log) == log;
        Identity::at(&self.found.path) == Some(self.found.identity) && log.is_some_and(is_its_log)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut locked = LOCKED.lock();
        locked.files.remove(&self.found.identity);
        drop(locked.parked.remove(&self.found.identity));
    }
}

/// Whether the file alone is a mount point, of another file system or of another place of the same one.
fn is_mount_point(file: &File, path: &Path) -> bool {
    let directory =
        path.parent().and_then(|parent| OpenOptions::new().read(true).custom_flags(O_PATH).open(parent).ok());
    let Some(directory) = directory else { return false };
    let mounts = (mount(file), mount(&directory));
    matches!(mounts, (Some(file), Some(directory)) if file != directory)
}

/// The number of the mount that a file was reached through, if the system tells it.
fn mount(file: &File) -> Option<u64> {
    let told = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    told.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
}

/// The path of a file that SQLite keeps beside another one.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
