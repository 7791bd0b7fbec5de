//! Keeping the cache within its size.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Dir, FileType, statat, unlinkat};

use super::cache::{SUFFIX, UNFINISHED};

/// The most that is kept. Beyond it, what was written first goes first.
const CACHE_BYTES_MAX: u64 = 1 << 30;
/// A file that was not finished for so long never will be: its process ended.
const UNFINISHED_SECONDS_MAX: i64 = 3_600;

/// A compiled component, by when it was written.
type Kept = (i64, u64, CString);

/// Removes what was written first until the rest fits, and what was never finished.
pub(super) fn make_room(directory: &OwnedFd) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
    let mut kept: Vec<Kept> = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        let text = name.to_string_lossy();
        let is_kept = text.ends_with(SUFFIX);
        let is_unfinished = text.starts_with(UNFINISHED);
        if !is_kept && !is_unfinished {
            continue;
        }
        // Another process tidies as well.
        let Ok(found) = statat(directory, &*name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if is_unfinished && now.saturating_sub(found.st_mtime) > UNFINISHED_SECONDS_MAX {
            let _ = unlinkat(directory, &*name, AtFlags::empty());
        } else if is_kept && FileType::from_raw_mode(found.st_mode) == FileType::RegularFile {
            kept.push((found.st_mtime, u64::try_from(found.st_size).unwrap_or_default(), name.clone()));
        }
    }
    remove_first(directory, kept)
}

fn remove_first(directory: &OwnedFd, mut kept: Vec<Kept>) -> io::Result<()> {
    kept.sort();
    let mut sum: u64 = kept.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, name) in kept {
        if sum <= CACHE_BYTES_MAX {
            break;
        }
        match unlinkat(directory, &*name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => sum -= bytes,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
