//! Compiled components, kept between runs. They are machine code, so only files that this host wrote are trusted: each
//! begins with a hash of the rest under a key that only this user can read.

use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, fstat, open, openat, renameat, renameat_with, unlinkat};
use rustix::io::Errno;
use wasmtime::Engine;

use super::compile::Compiled;
use super::sealed::Sealed;
use super::tidy;
use crate::engine::{EngineOptions, config_to_compile};
use crate::guest::Calls;

const KEY_BYTES: usize = 32;
const KEY: &str = "key";
/// The most machine code of one component that is read.
const COMPILED_BYTES_MAX: u64 = 1 << 30;
/// How the names of compiled components end.
pub(super) const SUFFIX: &str = "component";
/// How the names of files begin that are being written.
pub(super) const UNFINISHED: &str = "unfinished";
/// How a file is laid out. One of another layout has another name.
const LAYOUT: u8 = 2;

/// A directory of compiled components.
pub(crate) struct Cache {
    directory: Directory,
    key: [u8; KEY_BYTES],
    /// The settings of the engines that may have compiled, and that run what is found.
    synchronous: u64,
    asynchronous: u64,
    /// Whether it was told that nothing can be kept.
    is_told: AtomicBool,
}

/// A directory that is open, and belongs to this user alone.
struct Directory {
    open: OwnedFd,
    path: PathBuf,
    user: u32,
}

impl Cache {
    /// The cache in `path`, which is made if need be and must belong to this user alone. One that cannot be written is
    /// read all the same. The error says why it cannot be used.
    pub(crate) fn open(path: &Path, options: &EngineOptions) -> Result<Self, String> {
        let directory = Directory::open(path)?;
        let key = directory.key().map_err(|error| format!("key: {error}"))?;
        let synchronous = settings(options, Calls::Synchronous)?;
        let asynchronous = settings(options, Calls::Asynchronous)?;
        Ok(Self { directory, key, synchronous, asynchronous, is_told: AtomicBool::new(false) })
    }

    /// The code that was compiled before from the bytes with this hash, if it is there and unchanged, in memory that
    /// nobody can change.
    pub(super) fn find(&self, component: blake3::Hash, calls: Calls) -> Option<Sealed> {
        let name = self.name(component, calls);
        match self.read(&name, component, calls) {
            Ok(sealed) => Some(sealed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let directory = self.directory.path.display();
                tracing::warn!(%directory, file = name, error = %error, "cached component is not used; compiling anew");
                None
            }
        }
    }

    /// Keeps what was compiled from the bytes with this hash, and says whether it did. A cache that cannot be written
    /// costs time and nothing else.
    pub(super) fn keep(&self, component: blake3::Hash, compiled: &Compiled) -> bool {
        let Compiled { code, calls } = compiled;
        let mut hasher = self.hasher(component, *calls);
        hasher.update(code);
        let hash = hasher.finalize();
        let written = self.directory.replace(&self.name(component, *calls), &[hash.as_bytes(), code]);
        let written = written.and_then(|()| tidy::make_room(&self.directory.open));
        if let Err(error) = &written
            && !self.is_told.swap(true, Ordering::Relaxed)
        {
            let directory = self.directory.path.display();
            tracing::warn!(%directory, error = %error, "compiled components are not cached: host.cache_dir cannot be written");
        }
        written.is_ok()
    }

    fn read(&self, name: &str, component: blake3::Hash, calls: Calls) -> io::Result<Sealed> {
        let mut file = self.directory.open_own(name)?;
        let mut hash = [0; blake3::OUT_LEN];
        file.read_exact(&mut hash)?;
        // Read once and for all: what is hashed is what is run, whatever becomes of the file.
        let mut code = Vec::with_capacity(usize::try_from(file.metadata()?.len().min(COMPILED_BYTES_MAX)).unwrap_or(0));
        file.take(COMPILED_BYTES_MAX).read_to_end(&mut code)?;
        let mut hasher = self.hasher(component, calls);
        hasher.update(&code);
        // The comparison of blake3 takes the same time wherever the difference lies.
        if hasher.finalize() != blake3::Hash::from_bytes(hash) {
            return Err(io::Error::other("it was changed"));
        }
        Ok(Sealed::new(code))
    }

    fn name(&self, component: blake3::Hash, calls: Calls) -> String {
        format!("{}-{:016x}.{SUFFIX}", component.to_hex(), self.engine(calls))
    }

    fn engine(&self, calls: Calls) -> u64 {
        match calls {
            Calls::Synchronous => self.synchronous,
            Calls::Asynchronous => self.asynchronous,
        }
    }

    /// The hash binds the compiled code to the component and to the settings of the engine.
    fn hasher(&self, component: blake3::Hash, calls: Calls) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(component.as_bytes());
        hasher.update(&self.engine(calls).to_le_bytes());
        hasher
    }
}

/// Stands for what machine code depends on.
fn settings(options: &EngineOptions, calls: Calls) -> Result<u64, String> {
    let engine = Engine::new(&config_to_compile(options, calls)).map_err(|error| format!("engine: {error:#}"))?;
    let mut hasher = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    // How a component is made of a core module depends on this program.
    (env!("CARGO_PKG_VERSION"), LAYOUT).hash(&mut hasher);
    Ok(hasher.finish())
}

impl Directory {
    fn open(path: &Path) -> Result<Self, String> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        let opened = open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let open = opened.map_err(|error| match (error, made) {
            (Errno::NOENT, Err(error)) => error.to_string(),
            (error, _) => io::Error::from(error).to_string(),
        })?;
        let user = rustix::process::geteuid().as_raw();
        let found = fstat(&open).map_err(|error| error.to_string())?;
        if found.st_uid != user || found.st_mode & 0o077 != 0 {
            return Err("it must belong to this user with mode 0700".to_owned());
        }
        Ok(Self { open, path: path.to_owned(), user })
    }

    /// The key of the cache, made when there is none that can be used. Nothing that was kept under another one is used
    /// any more.
    fn key(&self) -> io::Result<[u8; KEY_BYTES]> {
        let is_missing = match self.read_key() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => {
                let directory = self.path.display();
                tracing::warn!(%directory, error = %error, "key of the cache cannot be used; making a new one");
                false
            }
            key => return key,
        };
        let mut key = [0; KEY_BYTES];
        File::open("/dev/urandom")?.read_exact(&mut key)?;
        let unfinished = self.write_unfinished(&[&key])?;
        // Of two processes that make the first key, both take that of the one who was faster.
        let first = || renameat_with(&self.open, &*unfinished, &self.open, KEY, RenameFlags::NOREPLACE);
        match if is_missing { first() } else { Err(Errno::INVAL) } {
            Ok(()) => {}
            Err(Errno::EXIST) => unlinkat(&self.open, &*unfinished, AtFlags::empty())?,
            Err(_) => self.put(&unfinished, KEY)?,
        }
        self.read_key()
    }

    fn read_key(&self) -> io::Result<[u8; KEY_BYTES]> {
        let mut key = [0; KEY_BYTES];
        let mut file = self.open_own(KEY)?;
        let metadata = file.metadata()?;
        if metadata.len() != KEY_BYTES as u64 || metadata.mode() & 0o077 != 0 {
            return Err(io::Error::other(format!("it must have {KEY_BYTES} bytes and mode 0600")));
        }
        file.read_exact(&mut key)?;
        Ok(key)
    }

    /// Opens a plain file that this user alone can have written. Nothing waits, whatever lies there.
    fn open_own(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(openat(&self.open, name, flags, Mode::empty())?);
        let found = file.metadata()?;
        if !found.is_file() || found.uid() != self.user || found.nlink() != 1 || found.mode() & 0o022 != 0 {
            return Err(io::Error::other(
                "it must be a plain file of this user, under one name, that no other can write",
            ));
        }
        Ok(file)
    }

    /// Puts another file in the place of one that may be open, which stays as it is for those who have it.
    fn replace(&self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        self.put(&self.write_unfinished(parts)?, name)
    }

    fn write_unfinished(&self, parts: &[&[u8]]) -> io::Result<String> {
        let name = format!("{UNFINISHED}.{:016x}", fastrand::u64(..));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.open, &*name, flags, Mode::RUSR | Mode::WUSR)?);
        if let Err(error) = parts.iter().try_for_each(|part| file.write_all(part)) {
            let _ = unlinkat(&self.open, &*name, AtFlags::empty());
            return Err(error);
        }
        Ok(name)
    }

    /// Gives a file that was written its name. A directory that has it is moved out of the way.
    fn put(&self, unfinished: &str, name: &str) -> io::Result<()> {
        let mut put = renameat(&self.open, unfinished, &self.open, name);
        if put == Err(Errno::ISDIR) {
            let aside = format!("directory.{:016x}", fastrand::u64(..));
            put = renameat(&self.open, name, &self.open, aside);
            put = put.and_then(|()| renameat(&self.open, unfinished, &self.open, name));
        }
        if put.is_err() {
            let _ = unlinkat(&self.open, unfinished, AtFlags::empty());
        }
        Ok(put?)
    }
}
