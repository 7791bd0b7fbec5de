//! The flight file: the deliveries that receivers have now. It is beside the queue file while that is open, and has a
//! place for each delivery in flight, which is written before the receiver gets the message.
//!
//! It is never flushed. The page cache keeps the writes of a process when it ends in any way, so the next process finds
//! the deliveries that were in flight. After a restart of the machine the content is not reliable, and is not used.
//!
//! A note counts as long as the queue file does not know of its delivery: the outcome of a delivery is stored with its
//! number. So places are used again without being cleared, and old notes in them do no harm.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use wasmpost_delivery::{Timestamp, prove};
use wasmpost_msg::counted;

/// The suffix of its name, after the name of the queue file.
pub(crate) const SUFFIX: &str = "-flight";
/// The first bytes of the file.
const MAGIC: [u8; 8] = *b"wpflight";
/// The version of its layout.
const VERSION: u32 = 1;
/// The size of the header, and of each place.
const PLACE_BYTES: usize = 64;
/// The size of the part of the header, and of each place, that the check at its end covers.
const CHECKED_BYTES: usize = 48;
/// The number of places that are added at a time, and the most that the file may have.
const PLACES_ADDED: u32 = 1024;
const PLACES_MAX: u32 = 64 * 1024;
/// The file in which the system identifies this boot.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
/// The flags to open it: opening anything but a plain file does not block, and a link is not followed.
const O_NONBLOCK: i32 = 0o4000;
const O_NOFOLLOW: i32 = if cfg!(any(target_arch = "aarch64", target_arch = "arm")) { 0o100_000 } else { 0o400_000 };

/// The state of a delivery, as far as its note tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The receiver has it.
    InFlight,
    /// It was acknowledged, and that may not be in the queue file yet.
    Acked,
}

/// A delivery in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) queue: i64,
    pub(crate) message: i64,
    /// The beginning of the checksum of the message.
    pub(crate) mark: u64,
    pub(crate) deliveries: u32,
    pub(crate) since: Timestamp,
}

/// The file of this run, open for writing.
pub(crate) struct Flight {
    file: File,
    run: u64,
    places: Mutex<Places>,
}

struct Places {
    free: Vec<u32>,
    made: u32,
}

/// The notes that the last run left.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) notes: Vec<(Note, Phase)>,
    /// The fault of the file, if it has one.
    pub(crate) fault: Option<String>,
}

impl Flight {
    pub(crate) fn path(queue_file: &Path) -> PathBuf {
        crate::held::with_suffix(queue_file, SUFFIX)
    }

    /// Creates the file of a run. It is a new one: an older file in its place, or the target of a link, may belong to
    /// others.
    pub(crate) fn create(path: &Path, run: u64) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        // It gets its size at once, so that messages that are stored already can be delivered when the disk is full
        // later.
        let made = add(&file, 0)?;
        file.write_all_at(&header(run, boot().unwrap_or_default()), 0)?;
        let places = Places { free: (0..made).rev().collect(), made };
        Ok(Self { file, run, places: Mutex::new(places) })
    }

    /// Notes a delivery. Returns its place.
    pub(crate) fn begin(&self, note: &Note) -> io::Result<u32> {
        let place = self.place()?;
        if let Err(error) = self.write(place, note, Phase::InFlight) {
            self.free(place);
            return Err(error);
        }
        Ok(place)
    }

    /// Notes in the place of a delivery that it was acknowledged.
    pub(crate) fn acked(&self, place: u32, note: &Note) -> io::Result<()> {
        self.write(place, note, Phase::Acked)
    }

    /// Frees the place of a delivery whose outcome is in the queue file.
    pub(crate) fn free(&self, place: u32) {
        self.places.lock().free.push(place);
    }

    fn place(&self) -> io::Result<u32> {
        let mut places = self.places.lock();
        if places.free.is_empty() {
            let before = places.made;
            places.made = add(&self.file, before)?;
            let made = places.made;
            places.free.extend((before..made).rev());
        }
        places.free.pop().ok_or_else(|| io::Error::other("no place is left"))
    }

    fn write(&self, place: u32, note: &Note, phase: Phase) -> io::Result<()> {
        self.file.write_all_at(&place_bytes(self.run, note, phase), offset(place))
    }
}

/// Adds places after the first `count`. Returns how many there are then.
fn add(file: &File, made: u32) -> io::Result<u32> {
    if made + PLACES_ADDED > PLACES_MAX {
        return Err(io::Error::other(format!("{PLACES_MAX} deliveries are in flight already")));
    }
    file.write_all_at(&vec![0; PLACE_BYTES * PLACES_ADDED as usize], offset(made))?;
    Ok(made + PLACES_ADDED)
}

fn offset(place: u32) -> u64 {
    (u64::from(place) + 1) * PLACE_BYTES as u64
}

/// Reads the notes that a run left in its file.
pub(crate) fn read(path: &Path, run: u64) -> Found {
    match bytes_of(path) {
        Ok(bytes) => found(&bytes, run, boot()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fault("is missing"),
        Err(error) => fault(format!("could not be read: {error}")),
    }
}

fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK | O_NOFOLLOW).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a plain file"));
    }
    let mut bytes = Vec::new();
    file.take(offset(PLACES_MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn found(bytes: &[u8], run: u64, boot: Option<[u8; 16]>) -> Found {
    let (places, _) = bytes.as_chunks::<PLACE_BYTES>();
    let Some((header, places)) = places.split_first() else { return fault("is cut off") };
    if !header.starts_with(&MAGIC) {
        return fault("is not a flight file");
    }
    if number(header, 8) != u64::from(VERSION) || !is_whole(header, 0) {
        return fault("is damaged, or of another version");
    }
    if number(header, 16) != run {
        return fault("is older than the queue file, or belongs to another one");
    }
    if boot.is_some_and(|boot| header.get(24..40) != Some(&boot[..])) {
        return fault("is from before the machine was started again");
    }
    let ours = places.iter().filter(|place| number(*place, 0) == run);
    let mut notes = Vec::new();
    let mut torn = 0;
    for place in ours {
        match note(place, run) {
            Some(note) => notes.push(note),
            None => torn += 1,
        }
    }
    Found { notes, fault: (torn > 0).then(|| format!("has {}", counted(torn, "damaged place"))) }
}

fn fault(text: impl Into<String>) -> Found {
    Found { notes: Vec::new(), fault: Some(text.into()) }
}

/// The id of this boot of the machine, if the system tells it.
fn boot() -> Option<[u8; 16]> {
    prove::boot().or_else(|| {
        let text = std::fs::read_to_string(BOOT).ok()?;
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        u128::from_str_radix(&digits, 16).ok().map(u128::to_le_bytes)
    })
}

fn header(run: u64, boot: [u8; 16]) -> [u8; PLACE_BYTES] {
    let mut bytes = [0; PLACE_BYTES];
    put(&mut bytes, 0, &MAGIC);
    put(&mut bytes, 8, &u64::from(VERSION).to_le_bytes());
    put(&mut bytes, 16, &run.to_le_bytes());
    put(&mut bytes, 24, &boot);
    sealed(bytes, 0)
}

fn place_bytes(run: u64, note: &Note, phase: Phase) -> [u8; PLACE_BYTES] {
    let mut bytes = [0; PLACE_BYTES];
    let phase = u64::from(phase == Phase::Acked) << 32;
    let numbers = [run, note.queue as u64, note.message as u64, note.mark, u64::from(note.deliveries) | phase];
    numbers.iter().enumerate().for_each(|(place, number)| put(&mut bytes, 8 * place, &number.to_le_bytes()));
    put(&mut bytes, 40, &note.since.0.to_le_bytes());
    sealed(bytes, run)
}

fn note(bytes: &[u8; PLACE_BYTES], run: u64) -> Option<(Note, Phase)> {
    if !is_whole(bytes, run) {
        return None;
    }
    let deliveries = number(bytes, 32) as u32;
    let phase = number(bytes, 32) >> 32;
    let note = Note {
        queue: number(bytes, 8) as i64,
        message: number(bytes, 16) as i64,
        mark: number(bytes, 24),
        deliveries,
        since: Timestamp(number(bytes, 40)),
    };
    Some((note, if phase == 1 { Phase::Acked } else { Phase::InFlight }))
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + what.len()) {
        place.copy_from_slice(what);
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// The check of a place in the file of a run.
fn check(bytes: &[u8], run: u64) -> [u8; PLACE_BYTES - CHECKED_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&run.to_le_bytes()).update(bytes.get(..CHECKED_BYTES).unwrap_or_default());
    let mut check = [0; PLACE_BYTES - CHECKED_BYTES];
    hasher.finalize_xof().fill(&mut check);
    check
}

fn sealed(mut bytes: [u8; PLACE_BYTES], run: u64) -> [u8; PLACE_BYTES] {
    let check = check(&bytes, run);
    put(&mut bytes, CHECKED_BYTES, &check);
    bytes
}

fn is_whole(bytes: &[u8; PLACE_BYTES], run: u64) -> bool {
    bytes.get(CHECKED_BYTES..) == Some(&check(bytes, run)[..])
}

#[cfg(test)]
mod tests;
