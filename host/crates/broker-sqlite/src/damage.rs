//! Looks for damage in the write-ahead log that a process left behind.
//!
//! SQLite reads the log up to the first frame with a wrong checksum, takes it for a commit that was cut off, and
//! ignores all frames after it. If bits have flipped there instead, it drops the later commits silently. Here they are
//! found, and logged.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use wasmpost_msg::{chain, counted};

use crate::held::with_suffix;

/// The first bytes of the log; the last bit is set if its checksums are over big-endian numbers.
const MAGIC: u32 = 0x377f_0682;
const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// The largest size of a page, in bytes.
const PAGE_BYTES_MAX: usize = 65_536;
/// The suffix of the copy of a damaged log, after the name of the log.
const KEPT: &str = ".damaged";

/// A place in the log where it is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Damage {
    /// The number of the frame, from 1.
    frame: usize,
    /// How many commits end with it or after it. If it is one, that may have been cut off.
    commits: usize,
}

type Checksum = (u32, u32);

/// Logs damage in the log of a queue file, and keeps a copy of the log: opening the file will overwrite it.
pub(crate) fn tell(file: &Path) {
    let log = with_suffix(file, "-wal");
    let found = File::open(&log).and_then(|file| find(BufReader::with_capacity(1 << 20, file)));
    let damage = match found {
        Ok(Some(damage)) if damage.commits > 0 => damage,
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return tracing::warn!(
                path = %log.display(), error = %chain(&error),
                "log of the queue file could not be checked"
            );
        }
        _ => return,
    };
    let kept = with_suffix(&log, KEPT);
    let Damage { frame, commits } = damage;
    if commits == 1 {
        let path = log.display();
        return tracing::warn!(%path, frame, "last commit in the log of the queue file was cut off and is left out");
    }
    let copied = if kept.exists() { Ok(0) } else { std::fs::copy(&log, &kept) };
    if let Err(error) = copied {
        tracing::warn!(path = %kept.display(), error = %chain(&error), "damaged log could not be kept");
    }
    let path = log.display();
    let kept = kept.display();
    tracing::error!(
        %path, frame, commits, %kept,
        "log of the queue file is damaged; commits from there on are lost, and a copy of it is kept"
    );
}

/// Describes the damage in the log of a queue file, if there is some.
pub(crate) fn told(file: &Path) -> Option<String> {
    let found = File::open(with_suffix(file, "-wal")).and_then(|log| find(BufReader::with_capacity(1 << 20, log)));
    match found {
        Ok(Some(Damage { frame, commits })) if commits > 1 => {
            Some(format!("its log is damaged at frame {frame}; {} lost from there on", counted(commits, "commit")))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Some(format!("its log cannot be read: {error}")),
        _ => None,
    }
}

/// The first wrong frame, with the number of commits from there on that are whole.
fn find(mut log: impl Read) -> io::Result<Option<Damage>> {
    let mut header = [0; HEADER_BYTES];
    if !fill(&mut log, &mut header)? {
        return Ok(None);
    }
    let is_big = number(&header, 0) == MAGIC | 1;
    let page_bytes = number(&header, 8) as usize;
    let mut sum = checksum((0, 0), header.get(..24).unwrap_or_default(), is_big);
    let is_known = number(&header, 0) & !1 == MAGIC && (512..=PAGE_BYTES_MAX).contains(&page_bytes);
    if !is_known || sum != (number(&header, 24), number(&header, 28)) {
        // SQLite then begins a new log, as it does after the last commit was copied.
        return Ok(None);
    }
    let mut frame = vec![0; FRAME_HEADER_BYTES + page_bytes];
    let mut number_of: usize = 0;
    let mut damage: Option<Damage> = None;
    while fill(&mut log, &mut frame)? {
        number_of += 1;
        if frame.get(8..16) != header.get(16..24) && damage.is_none() {
            // The rest is left from an earlier log.
            return Ok(None);
        }
        let head = frame.get(..8).unwrap_or_default();
        let page = frame.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        let (computed, stored) =
            (checksum(checksum(sum, head, is_big), page, is_big), (number(&frame, 16), number(&frame, 20)));
        let is_whole = computed == stored;
        if !is_whole && damage.is_none() {
            damage = Some(Damage { frame: number_of, commits: 0 });
        }
        if let Some(damage) = &mut damage {
            let is_ours = frame.get(8..16) == header.get(16..24);
            let is_commit = number(&frame, 4) != 0;
            damage.commits += usize::from(is_ours && is_commit && (is_whole || damage.frame == number_of));
        }
        // Each checksum continues the stored one before it.
        sum = stored;
    }
    Ok(damage)
}

/// Fills the buffer. Returns false if too few bytes are left.
fn fill(log: &mut impl Read, into: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(into) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The big-endian number at a place of a header.
fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
}

fn checksum(from: Checksum, bytes: &[u8], is_big: bool) -> Checksum {
    let read = |bytes: &[u8]| {
        let bytes = bytes.try_into().unwrap_or_default();
        if is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    let (pairs, _) = bytes.as_chunks::<8>();
    pairs.iter().fold(from, |(one, two), pair| {
        let (first, second) = pair.split_at(4);
        let one = one.wrapping_add(read(first)).wrapping_add(two);
        (one, two.wrapping_add(read(second)).wrapping_add(one))
    })
}
