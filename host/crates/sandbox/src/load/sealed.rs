//! Machine code in memory that nobody can change any more: neither through a file that it came from nor through this
//! process.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// How much is copied at a time.
const CHUNK_BYTES: usize = 128 << 10;

/// A file in memory without a name, sealed against writing, growing and shrinking.
pub(super) struct Sealed {
    file: File,
    bytes: usize,
}

impl Sealed {
    /// A copy of all that is read, each piece of which is shown before it is copied. What was shown is what is sealed.
    pub(super) fn copy_of(mut from: impl Read, mut show: impl FnMut(&[u8])) -> io::Result<Self> {
        let mut file = in_memory()?;
        let (mut chunk, mut bytes) = (vec![0; CHUNK_BYTES], 0);
        loop {
            let read = match from.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let piece = chunk.get(..read).unwrap_or_default();
            show(piece);
            file.write_all(piece)?;
            bytes += read;
        }
        fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(Self { file, bytes })
    }

    /// The content, for systems that do not let it be mapped.
    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.bytes];
        self.file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

impl AsFd for Sealed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for Sealed {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

fn in_memory() -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // It is mapped, and never run as a program. Linux before 6.3 does not know how to say so.
    let made = memfd_create("wasmpost-component", flags | MemfdFlags::NOEXEC_SEAL);
    let made = made.or_else(|_| memfd_create("wasmpost-component", flags))?;
    Ok(made.into())
}
