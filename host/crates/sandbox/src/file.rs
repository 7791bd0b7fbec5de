//! Reading files that anybody may have laid there: plain files alone, up to a size, without waiting.

use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::limits::Size;

/// The error of a file that was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It is something else than a plain file: reading it might wait for ever, or never end.
    #[error("it is {0}, not a plain file")]
    NotPlain(&'static str),
    /// It has more bytes than are read.
    #[error("it has more than {max}")]
    TooLarge {
        /// The most that is read.
        max: Size,
    },
    /// The system does not let it be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads a plain file, or one that a symbolic link leads to. Opening it does not wait, as it would for a FIFO that nobody
/// writes to, and no more is read than one byte beyond what is allowed.
///
/// # Errors
///
/// [`FileError::NotPlain`] for anything but a plain file, [`FileError::TooLarge`] for one with more than `max` bytes,
/// and [`FileError::Io`] where the system does not let it be read.
///
/// # Examples
///
/// ```
/// use std::path::Path;
///
/// use wasmpost_sandbox::{FileError, Size, read_plain_file};
///
/// assert!(matches!(read_plain_file(Path::new("/"), Size(1 << 20)), Err(FileError::NotPlain("a directory"))));
/// ```
pub fn read_plain_file(path: &Path, max: Size) -> Result<Vec<u8>, FileError> {
    let file = open_plain_file(path)?;
    let told = file.metadata()?.len();
    if told > max.0 {
        return Err(FileError::TooLarge { max });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(told).unwrap_or_default().saturating_add(1));
    // A file can grow while it is read, and those of the kernel tell no size.
    file.take(max.0.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max.0 {
        return Err(FileError::TooLarge { max });
    }
    Ok(bytes)
}

/// Opens a plain file for reading, or one that a symbolic link leads to, without waiting.
///
/// # Errors
///
/// [`FileError::NotPlain`] for anything but a plain file, and [`FileError::Io`] where the system does not let it be
/// opened.
///
/// # Examples
///
/// ```
/// use std::path::Path;
///
/// use wasmpost_sandbox::{FileError, open_plain_file};
///
/// assert!(matches!(open_plain_file(Path::new("/dev/null")), Err(FileError::NotPlain(_))));
/// assert!(matches!(open_plain_file(Path::new("/does/not/exist")), Err(FileError::Io(_))));
/// ```
pub fn open_plain_file(path: &Path) -> Result<File, FileError> {
    // To open a device can do something. It is looked at before, and again when it is open.
    check_plain(fs::metadata(path)?.file_type())?;
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    check_plain(file.metadata()?.file_type())?;
    Ok(file)
}

fn check_plain(kind: FileType) -> Result<(), FileError> {
    let name = match kind {
        _ if kind.is_file() => return Ok(()),
        _ if kind.is_dir() => "a directory",
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ if kind.is_char_device() || kind.is_block_device() => "a device",
        _ => "of another kind",
    };
    Err(FileError::NotPlain(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &Path, max: u64) -> String {
        read_plain_file(path, Size(max)).unwrap_err().to_string()
    }

    #[test]
    fn anything_but_a_plain_file_is_refused_at_once_by_its_kind() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name| directory.path().join(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, place("fifo"), rustix::fs::Mode::RWXU).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(place("socket")).unwrap();
        std::os::unix::fs::symlink("fifo", place("link")).unwrap();
        for (path, kind) in [
            (place("fifo"), "a pipe"),
            (place("link"), "a pipe"),
            (place("socket"), "a socket"),
            (directory.path().to_owned(), "a directory"),
            ("/dev/zero".into(), "a device"),
            ("/dev/null".into(), "a device"),
        ] {
            assert_eq!(told(&path, 100), format!("it is {kind}, not a plain file"), "{path:?}");
        }
    }

    #[test]
    fn a_plain_file_is_read_up_to_its_limit_and_through_links() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name| directory.path().join(name);
        fs::write(place("file"), "12345").unwrap();
        std::os::unix::fs::symlink("file", place("one")).unwrap();
        std::os::unix::fs::symlink("one", place("two")).unwrap();
        assert_eq!(read_plain_file(&place("two"), Size(5)).unwrap(), b"12345");
        assert_eq!(told(&place("two"), 4), "it has more than 4B");
        assert_eq!(
            read_plain_file(&place("nothing"), Size(4)).map_err(|error| matches!(error, FileError::Io(_))),
            Err(true)
        );
        // A file of the kernel, which tells no size.
        assert!(read_plain_file(Path::new("/proc/self/status"), Size(1 << 20)).unwrap().len() > 100);
        assert!(told(Path::new("/proc/self/status"), 100).contains("more than 100"));
    }
}
