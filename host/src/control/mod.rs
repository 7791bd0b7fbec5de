//! The local socket of a host: other commands publish, look and redrive through it while the host has the queue file.

mod client;
mod pipe;
mod protocol;
mod server;

use std::path::{Path, PathBuf};

pub use client::RemoteBroker;
pub use pipe::PipeOrder;
pub use server::{Listener, listen};

/// The longest path that a socket can have everywhere, in bytes.
const PATH_BYTES_MAX: usize = 100;

/// Where the socket for a queue file is: beside the file, or in the directory for temporary files where that path would
/// be too long for a socket.
pub fn socket_path(file: &Path) -> PathBuf {
    // The file may not exist yet, but its directory does, and all ways to it have one socket.
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = parent.canonicalize().unwrap_or_else(|_| parent.to_owned());
    let resolved = file.canonicalize().unwrap_or_else(|_| parent.join(file.file_name().unwrap_or_default()));
    let mut beside = resolved.clone().into_os_string();
    beside.push(".sock");
    if beside.len() <= PATH_BYTES_MAX {
        return beside.into();
    }
    let mut hasher = std::hash::DefaultHasher::new();
    std::hash::Hash::hash(&resolved, &mut hasher);
    std::env::temp_dir().join(format!("wasmpost-{:016x}.sock", std::hash::Hasher::finish(&hasher)))
}
