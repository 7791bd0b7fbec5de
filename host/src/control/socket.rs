//! The socket for a queue file, and a path to it that is short enough.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use wasmpost_broker_sqlite::resolved;

/// The longest name of a socket in its directory, in bytes: the system takes 107 for the whole path.
const NAME_BYTES_MAX: usize = 80;
/// Opens a directory to reach what is in it, and nothing else.
const O_PATH: i32 = 0o10_000_000;

/// The socket for a queue file, whose directory is open.
pub(super) struct Socket {
    path: PathBuf,
    directory: File,
}

/// The path of the socket for a queue file: beside the file that all ways to it lead to.
pub fn socket_path(file: &Path) -> PathBuf {
    // Where the directory does not exist, nobody listens in it.
    let file = resolved(file).unwrap_or_else(|_| file.to_owned());
    let mut name = file.file_name().map(OsString::from).unwrap_or_default();
    name.push(".sock");
    if name.len() > NAME_BYTES_MAX {
        name = format!(".wasmpost-{:016x}.sock", hash(name.as_bytes())).into();
    }
    file.with_file_name(name)
}

/// The same for every build: FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Socket {
    pub(super) fn of(file: &Path) -> io::Result<Self> {
        let path = socket_path(file);
        let directory = path.parent().unwrap_or(Path::new("."));
        let directory = OpenOptions::new().read(true).custom_flags(O_PATH).open(directory)?;
        Ok(Self { path, directory })
    }

    /// A short path to it, which can be used as long as this lives.
    pub(super) fn way(&self) -> PathBuf {
        let directory = Path::new("/proc/self/fd").join(self.directory.as_raw_fd().to_string());
        match self.path.file_name() {
            Some(name) if directory.exists() => directory.join(name),
            _ => self.path.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_beside_its_file_under_a_name_that_the_system_takes() {
        let directory = std::env::temp_dir().canonicalize().unwrap();
        assert_eq!(socket_path(&directory.join("wasmpost.db")), directory.join("wasmpost.db.sock"));
        let long = socket_path(&directory.join("x".repeat(200)));
        assert_eq!(long.parent(), Some(&*directory));
        assert_eq!(long.file_name().unwrap(), ".wasmpost-bd1f014e03e21029.sock");
    }
}
