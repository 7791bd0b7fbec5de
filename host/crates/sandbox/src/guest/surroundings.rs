//! The surroundings of a guest: its clocks and random numbers, and the command line of a command.

use std::time::SystemTime;

use bytes::Bytes;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;

/// Surroundings that make calls repeatable: a time of day that stands still, and random numbers that are the same for
/// each new instance. Durations are real all the same.
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
    /// The seed of random numbers. With it, all of them can be predicted.
    pub seed: u64,
}

/// The input and the output of a command.
pub(crate) struct Command {
    /// The words of the command line.
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) stdin: Bytes,
    /// The pipe that takes standard output, if that does not go to the log.
    pub(crate) stdout: Option<MemoryOutputPipe>,
}
