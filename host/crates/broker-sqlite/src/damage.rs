//! Looking for damage in the write-ahead log that a process left behind.
//!
//! SQLite reads the log up to the first frame whose checksum is wrong, which is where a commit was cut off, and takes
//! nothing behind it. If bits have flipped there instead, commits behind it are left out without a word. Here they are
//! found, so that somebody is told.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use wasmpost_msg::chain;

use crate::held::with_suffix;

/// How the log begins; the last bit says that its checksums are of numbers with the highest byte first.
const MAGIC: u32 = 0x377f_0682;
const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// The largest page.
const PAGE_BYTES_MAX: usize = 65_536;
/// What the copy of a damaged log is called, behind its own name.
const KEPT: &str = ".damaged";

/// A place in the log where it is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Damage {
    /// The number of the frame, from 1.
    frame: usize,
    /// How many commits end with it or behind it. A single one may never have been whole.
    commits: usize,
}

type Checksum = (u32, u32);

/// Tells of damage in the log of a queue file, and keeps the log as it is: opening the file will write over it.
pub(crate) fn tell(file: &Path) {
    let log = with_suffix(file, "-wal");
    let found = File::open(&log).and_then(|file| find(BufReader::with_capacity(1 << 20, file)));
    let damage = match found {
        Ok(Some(damage)) if damage.commits > 0 => damage,
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return tracing::warn!(
                path = %log.display(), error = %chain(&error),
                "log of the queue file could not be looked through"
            );
        }
        _ => return,
    };
    let (kept, Damage { frame, commits }) = (with_suffix(&log, KEPT), damage);
    if commits == 1 {
        let path = log.display();
        return tracing::warn!(%path, frame, "last commit in the log of the queue file is not whole and is left out");
    }
    let copied = if kept.exists() { Ok(0) } else { std::fs::copy(&log, &kept) };
    if let Err(error) = copied {
        tracing::warn!(path = %kept.display(), error = %chain(&error), "damaged log could not be kept");
    }
    let (path, kept) = (log.display(), kept.display());
    tracing::error!(
        %path, frame, commits, %kept,
        "log of the queue file is damaged; commits from there on are lost, and a copy of it is kept"
    );
}

/// Says what is wrong with the log of a queue file, if something is.
pub(crate) fn told(file: &Path) -> Option<String> {
    let found = File::open(with_suffix(file, "-wal")).and_then(|log| find(BufReader::with_capacity(1 << 20, log)));
    match found {
        Ok(Some(Damage { frame, commits })) if commits > 1 => {
            Some(format!("its log is damaged at frame {frame}; {commits} commits from there on are lost"))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Some(format!("its log cannot be read: {error}")),
        _ => None,
    }
}

/// The first frame that is wrong, with the commits from there on which are whole in themselves.
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
        // SQLite begins a log of its own then, as it does after the last commit was copied.
        return Ok(None);
    }
    let mut frame = vec![0; FRAME_HEADER_BYTES + page_bytes];
    let (mut number_of, mut damage): (usize, Option<Damage>) = (0, None);
    while fill(&mut log, &mut frame)? {
        number_of += 1;
        if frame.get(8..16) != header.get(16..24) && damage.is_none() {
            // What lies here is left of the log before.
            return Ok(None);
        }
        let (head, page) = (frame.get(..8).unwrap_or_default(), frame.get(FRAME_HEADER_BYTES..).unwrap_or_default());
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
        // Each checksum goes on from the one before, as that is stored.
        sum = stored;
    }
    Ok(damage)
}

/// Whether there was enough to fill it.
fn fill(log: &mut impl Read, into: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(into) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The number at a place of a header, where the highest byte is always first.
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
