//! What a guest finds around it: its clocks and random numbers, and the command line of a command.

use std::time::SystemTime;

use bytes::Bytes;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;

/// What a guest sees of its surroundings where calls are to be repeatable: a time of day that does not go on, and random
/// numbers that are the same for each new instance. How long something takes is real all the same.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use wasmpost_sandbox::{ReceiverOptions, Surroundings};
///
/// // The first second of 2025, and always the same random numbers.
/// let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_735_689_600);
/// let surroundings = Some(Surroundings { now, seed: 7 });
/// let options = ReceiverOptions { surroundings, ..ReceiverOptions::default() };
/// # drop(options);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Surroundings {
    /// The time of day.
    pub now: SystemTime,
    /// What random numbers come from. Who knows it knows them all.
    pub seed: u64,
}

/// What a command finds when it starts, and what it leaves.
pub(crate) struct Command {
    /// The words of the command line.
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) stdin: Bytes,
    /// What takes standard output, if it is not for the log.
    pub(crate) stdout: Option<MemoryOutputPipe>,
}
