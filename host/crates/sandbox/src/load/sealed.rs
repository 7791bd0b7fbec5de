//! Machine code in memory that nobody can change any more: neither through a file that it came from nor through this
//! process.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// Machine code that stays as it is.
pub(super) enum Sealed {
    /// A file in memory without a name, sealed against writing, growing and shrinking. It can be mapped, so that one copy
    /// holds the code and what memories of guests begin with.
    File(File),
    /// Where the system lets nobody make such a file: memory of this process.
    Private(Vec<u8>),
}

impl Sealed {
    pub(super) fn new(code: Vec<u8>) -> Self {
        match sealed_file(&code) {
            Ok(file) => Self::File(file),
            Err(error) => {
                tracing::debug!(error = %error, "machine code stays in private memory");
                Self::Private(code)
            }
        }
    }
}

/// Reads what was sealed, for a system that does not let it be mapped.
pub(super) fn read(file: &File) -> io::Result<Vec<u8>> {
    let mut code = vec![0; usize::try_from(file.metadata()?.len()).unwrap_or(0)];
    file.read_exact_at(&mut code, 0)?;
    Ok(code)
}

fn sealed_file(code: &[u8]) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // It is mapped, and never run as a program. Linux before 6.3 does not know how to say so.
    let made = memfd_create("wasmpost-component", flags | MemfdFlags::NOEXEC_SEAL);
    let mut file = File::from(made.or_else(|_| memfd_create("wasmpost-component", flags))?);
    file.write_all(code)?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file)
}
