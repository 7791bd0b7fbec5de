//! Compiled components, kept between runs. What is read is machine code, so nothing is trusted that this host did not
//! write: beside each file lies a hash of it under a key that only this user can read.

use std::fs::{self, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use wasmtime::Engine;
use wasmtime::component::Component;

use super::mapped;
use crate::SandboxError;

const KEY_BYTES: usize = 32;
/// The most that is kept. Beyond it, what was written first goes first.
const CACHE_BYTES_MAX: u64 = 1 << 30;
const SUFFIX: &str = "component";
/// What the hash of a file is called, beside it.
const HASH_SUFFIX: &str = "hash";

/// A directory of compiled components.
pub(crate) struct Cache {
    directory: PathBuf,
    key: [u8; KEY_BYTES],
    engine: u64,
}

impl Cache {
    /// The cache in `directory`, which is made if need be and must belong to this user alone.
    pub(crate) fn open(directory: &Path, engine: &Engine) -> Result<Self, SandboxError> {
        let fault = |fault: String| SandboxError::Cache { path: directory.to_owned(), fault };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| fault(error.to_string()))?;
        let metadata = fs::metadata(directory).map_err(|error| fault(error.to_string()))?;
        let user = user(directory).map_err(|error| fault(error.to_string()))?;
        if metadata.uid() != user || metadata.permissions().mode() & 0o077 != 0 {
            return Err(fault("directory must belong to this user with mode 0700".to_owned()));
        }
        let key = key(directory, user).map_err(|error| fault(format!("key: {error}")))?;
        let mut hasher = std::hash::DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        // How a component is made of a core module depends on this program.
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        Ok(Self { directory: directory.to_owned(), key, engine: hasher.finish() })
    }

    /// What was compiled before from the bytes with this hash, if it is there and unchanged.
    pub(super) fn find(&self, engine: &Engine, component: blake3::Hash) -> Option<Component> {
        let path = self.path(component);
        let hash = fs::read(path.with_extension(HASH_SUFFIX)).ok()?;
        let file = File::open(&path).ok()?;
        // The comparison of blake3 takes the same time wherever the difference lies.
        if self.hash(component, &file).ok()? != blake3::Hash::from_slice(&hash).ok()? {
            tracing::warn!(path = %path.display(), "cached component was changed; compiling anew");
            return None;
        }
        mapped::deserialize_file(engine, &path)
    }

    /// Keeps what was compiled from the bytes with this hash, and gives it back from there. A cache that cannot be written costs time
    /// and nothing else.
    pub(super) fn keep(&self, engine: &Engine, component: blake3::Hash, compiled: &[u8]) -> Option<Component> {
        if let Err(error) = self.write(component, compiled) {
            tracing::warn!(directory = %self.directory.display(), %error, "compiled component was not cached");
            return None;
        }
        self.find(engine, component)
    }

    fn write(&self, component: blake3::Hash, compiled: &[u8]) -> io::Result<()> {
        let path = self.path(component);
        let hash = self.hash(component, compiled)?;
        // The hash last: a file that it does not fit is compiled anew.
        self.replace(&path, compiled)?;
        self.replace(&path.with_extension(HASH_SUFFIX), hash.as_bytes())?;
        self.make_room()
    }

    /// Puts another file in the place of one that may be mapped, which stays as it is for those who have it.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let unfinished = self.directory.join(format!("unfinished.{:016x}", fastrand::u64(..)));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        let written = file.write_all(content).and_then(|()| fs::rename(&unfinished, path));
        if written.is_err() {
            drop(fs::remove_file(&unfinished));
        }
        written
    }

    fn make_room(&self) -> io::Result<()> {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.directory)?.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == SUFFIX) {
                let metadata = entry.metadata()?;
                files.push((metadata.modified()?, metadata.len(), path));
            }
        }
        files.sort();
        let mut sum: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in files {
            if sum <= CACHE_BYTES_MAX {
                break;
            }
            fs::remove_file(path.with_extension(HASH_SUFFIX))?;
            fs::remove_file(path)?;
            sum -= bytes;
        }
        Ok(())
    }

    fn path(&self, component: blake3::Hash) -> PathBuf {
        let name = component.to_hex();
        self.directory.join(format!("{name}-{:016x}.{SUFFIX}", self.engine))
    }

    /// The hash binds the compiled code to the component and to the settings of the engine.
    fn hash(&self, component: blake3::Hash, compiled: impl Read) -> io::Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(component.as_bytes());
        hasher.update(&self.engine.to_le_bytes());
        hasher.update_reader(compiled)?;
        Ok(hasher.finalize())
    }
}

/// Who runs this process, told by whom a new file belongs to. A key that is there already tells nothing: whoever owns
/// the directory could have laid it there.
fn user(directory: &Path) -> io::Result<u32> {
    let path = directory.join(format!("user.{:016x}", fastrand::u64(..)));
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let user = made.metadata().map(|metadata| metadata.uid());
    fs::remove_file(&path)?;
    user
}

/// The key of the cache, made when there is none.
fn key(directory: &Path, user: u32) -> io::Result<[u8; KEY_BYTES]> {
    let path = directory.join("key");
    let mut key = [0; KEY_BYTES];
    // Written aside and linked, so that a second process sees either no key or a whole one.
    let unfinished = directory.join(format!("key.{:016x}", fastrand::u64(..)));
    if !path.exists() {
        File::open("/dev/urandom")?.read_exact(&mut key)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(&key)?;
        match fs::hard_link(&unfinished, &path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => fs::remove_file(&unfinished)?,
        }
    }
    let mut file = File::open(&path)?;
    let metadata = file.metadata()?;
    if metadata.uid() != user || metadata.permissions().mode() & 0o077 != 0 {
        return Err(io::Error::other("file must belong to this user with mode 0600"));
    }
    file.read_exact(&mut key)?;
    Ok(key)
}
