//! The history that brokers keep of deliveries, and the number of crashes that they allow: the same for all.

use wasmpost_msg::{Reason, counted};

use crate::dead_letter::{Attempt, Evidence, HISTORY_MAX};

/// How many processes, or their connections, may end while they have a message, unless an option of the broker says
/// otherwise: with the last the message becomes a dead letter, because it may be what ends them.
///
/// # Examples
///
/// ```
/// use wasmpost_delivery::{CRASHES_MAX, Evidence};
///
/// let evidence = Evidence::crashed(CRASHES_MAX);
/// assert!(evidence.error.ends_with("ended 3 times"));
/// ```
pub const CRASHES_MAX: u32 = 3;

/// How many ids an embedded broker remembers at a time, to recognise a second publication, unless an option says
/// otherwise.
pub const IDS_MAX: usize = 1_000_000;

impl Attempt {
    /// Adds it to the attempts at a message, of which the last [`HISTORY_MAX`] are kept.
    pub fn add_to(self, history: &mut Vec<Self>) {
        history.push(self);
        history.drain(..history.len().saturating_sub(HISTORY_MAX));
    }
}

impl Evidence {
    /// The evidence of a message which so many processes, or their connections, ended with.
    pub fn crashed(times: u32) -> Self {
        let error = format!("the process that had the message, or its connection, ended {}", counted(times, "time"));
        Self::by_host(Reason::Crash, error)
    }
}
