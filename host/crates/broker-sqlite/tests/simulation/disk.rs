//! The disk under a queue file: its content when a process ends, or when power is cut.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use wasmpost_broker_sqlite::{SqliteBroker, SqliteOptions, Step, Stepper};
use wasmpost_delivery::BrokerError;
use wasmpost_delivery::prove::Point;

use crate::world::{Ended, Life, World};

/// The size of a sector, which a disk writes as a whole or not at all, in bytes.
const SECTOR: usize = 512;
/// The header of the log, in bytes.
const LOG_HEADER: usize = 32;

/// A directory for the files of one simulation: each process has copies of its own, made when the one before ended, of
/// all that was in the page cache then.
pub struct Disk {
    directory: tempfile::TempDir,
    copies: usize,
}

/// A queue file that is open, with what of it was certainly on the disk at the last look.
pub struct Drive {
    path: PathBuf,
    stepper: Stepper,
    synchronised: [Vec<u8>; 3],
    copies_to_disk: bool,
}

impl Disk {
    pub fn new() -> Self {
        // Nothing here has to survive: a file system in memory is faster.
        let fast = Path::new("/dev/shm");
        let directory = if fast.is_dir() { tempfile::tempdir_in(fast) } else { tempfile::tempdir() };
        Self { directory: directory.expect("a directory can be made"), copies: 0 }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join(format!("{}.db", self.copies))
    }

    pub fn open(&self) -> Result<(Arc<SqliteBroker>, Drive), BrokerError> {
        let path = self.path();
        // A wall clock that is set ahead between two processes ends windows: here it is never set ahead that far.
        let options = SqliteOptions { deduplication_window: Duration::from_secs(86_400), ..SqliteOptions::default() };
        let (broker, stepper) = SqliteBroker::open_stepped(&path, options)?;
        let mut drive = Drive { path, stepper, synchronised: Default::default(), copies_to_disk: false };
        drive.look();
        Ok((broker, drive))
    }

    /// Keeps what is there for the next process. When power goes, every sector that was not synchronised may be what it
    /// was before.
    pub fn keep(&mut self, drive: Drive, random: Option<fastrand::Rng>) {
        let mut files = files(&drive.path);
        if let Some(mut random) = random {
            for (file, before) in files.iter_mut().zip(&drive.synchronised) {
                tear(file, before, &mut random);
            }
        }
        // As the process ends, SQLite would tidy up: it does that on files that are not looked at any more.
        drop(drive);
        self.copies += 1;
        for (name, content) in names(&self.path()).iter().zip(files).filter(|(_, content)| !content.is_empty()) {
            std::fs::write(name, content).expect("files can be copied");
        }
    }
}

impl Drive {
    /// Has the writer work until its process ends, or until it ends by itself.
    pub async fn run(mut self, world: Arc<World>, life: Life) -> Self {
        let mut steps = 0;
        while !life.is_over() {
            let stepped = catch_unwind(AssertUnwindSafe(|| self.stepper.step()));
            match stepped {
                Ok(Step::Worked) => {
                    steps += 1;
                    let mut dice = world.plan.dice("disk", (world.now(), steps));
                    if dice.u32(0..10) == 0 {
                        self.stepper.checkpoint();
                        if self.copies_to_disk {
                            self.synchronised = files(&self.path);
                        }
                    }
                    self.look();
                    // Gathered acknowledgements are neither committed nor on disk.
                    if !self.stepper.gathers() {
                        world.durable();
                    }
                    // A disk takes its time.
                    life.unless_over(sleep(Duration::from_millis(dice.u64(0..4)))).await;
                }
                Ok(Step::Waits(patience)) => {
                    let patience = patience.unwrap_or(Duration::from_secs(3600));
                    tokio::select! {
                        biased;
                        () = life.over() => {}
                        () = self.stepper.sent() => {}
                        () = sleep(patience) => {}
                    }
                }
                Ok(Step::Ended) => {
                    // SQLite copies the log into the file and synchronises that as the connection is closed.
                    if self.copies_to_disk {
                        self.synchronised = files(&self.path);
                    }
                    break;
                }
                Err(why) => {
                    let Some(Ended(at)) = why.downcast_ref() else { resume_unwind(why) };
                    if *at == Point::Leased {
                        // By then the group is committed and answered.
                        self.look();
                    }
                    break;
                }
            }
        }
        self
    }

    /// Takes note of what is certainly on the disk, after a commit.
    fn look(&mut self) {
        self.copies_to_disk = self.stepper.copies_to_disk();
        if self.stepper.is_synchronous() {
            self.synchronised = files(&self.path);
        }
        // Nobody ever flushes the flight file.
        self.synchronised[2].clear();
    }
}

/// The file, its log, and the flight file.
fn names(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-flight"].map(|suffix| format!("{}{suffix}", path.display()).into())
}

fn files(path: &Path) -> [Vec<u8>; 3] {
    names(path).map(|name| std::fs::read(name).unwrap_or_default())
}

/// Has some of the sectors that differ be what they were. A log that starts over synchronises its header before anything
/// else is written: all of it is as it was, or the header is new.
fn tear(file: &mut Vec<u8>, before: &[u8], random: &mut fastrand::Rng) {
    let kept = random.u32(0..=100);
    let header = file.get(..LOG_HEADER).map(<[u8]>::to_vec).filter(|header| !before.starts_with(header));
    if header.is_some() && random.u32(0..8) == 0 {
        *file = before.to_vec();
        return;
    }
    let mut end = file.len();
    for (number, sector) in file.chunks_mut(SECTOR).enumerate() {
        let at = number * SECTOR;
        let old = before.get(at..before.len().min(at + sector.len())).unwrap_or_default();
        if *sector == *old || random.u32(0..100) < kept {
            continue;
        }
        if old.len() < sector.len() && random.u32(0..10) == 0 {
            // The file never grew to here.
            end = end.min(at + old.len());
        }
        sector.iter_mut().enumerate().for_each(|(place, byte)| *byte = old.get(place).copied().unwrap_or(0));
    }
    file.truncate(end.max(before.len().min(file.len())));
    if let Some((place, header)) = header.and_then(|header| Some((file.get_mut(..LOG_HEADER)?, header))) {
        place.copy_from_slice(&header);
    }
}
