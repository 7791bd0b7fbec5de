//! The identity of a broker. Two addresses of one broker are one: it is opened once, and what is piped from it to
//! itself goes in circles.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use wasmpost_delivery::Site;

/// The most symbolic links in a row that are followed, as many as the system follows.
const LINKS_MAX: usize = 40;

/// Tells one broker from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A queue file.
    File(FileIdentity),
    /// A place on a server.
    Server(Site),
}

/// Tells one file from another, whatever path, link or mount leads to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileIdentity {
    /// One that is there.
    Inode {
        /// The file system.
        device: u64,
        /// Its number there.
        inode: u64,
    },
    /// One that is not there yet, by the place where it would be made.
    Place(PathBuf),
}

impl Identity {
    /// Whether both are one broker.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one), Self::File(other)) => one == other,
            (Self::Server(one), Self::Server(other)) => one.is_same(other),
            _ => false,
        }
    }
}

impl FileIdentity {
    /// The file that a path leads to, through links whether or not it is there.
    pub fn of(path: &Path) -> Self {
        match std::fs::metadata(path) {
            Ok(metadata) => Self::Inode { device: metadata.dev(), inode: metadata.ino() },
            Err(_) => Self::Place(place(path)),
        }
    }
}

/// The place at which a missing file would be made.
fn place(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let parent = parent.canonicalize().unwrap_or_else(|_| std::path::absolute(parent).unwrap_or(parent.to_owned()));
        match std::fs::read_link(&path) {
            Ok(target) => path = parent.join(target),
            Err(_) => return path.file_name().map_or(parent.clone(), |name| parent.join(name)),
        }
    }
    path
}
