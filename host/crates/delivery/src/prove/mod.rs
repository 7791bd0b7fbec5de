//! For proofs: named points at which the process may end, and breaks that show whether a proof would notice.
//!
//! Without the feature `prove`, which no release can have, all of this is empty. With it nothing happens either, until
//! somebody asks for it: by `from_environment` for a process, or by a `Hook` for what runs on one thread.

#[cfg(feature = "prove")]
mod switched;

#[cfg(feature = "prove")]
pub use switched::{Hook, from_environment, hook};

#[cfg(all(feature = "prove", not(debug_assertions)))]
compile_error!("the feature `prove` can break wasmpost on purpose: it is for builds with debug assertions alone");

use crate::timestamp::Timestamp;

/// A point that the code passes, at which the process may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// Deliveries are leased, but nobody has them yet.
    Leased,
    /// A delivery is noted as in flight, and the receiver was not called yet.
    FlightNoted,
    /// The receiver is about to be called.
    BeforeGuest,
    /// The receiver has returned ok, and nothing was settled.
    GuestOk,
    /// A delivery was acknowledged, and nothing of that is committed.
    Acked,
    /// Something was written, and is about to be committed.
    Committing,
    /// A commit that contains acknowledgements.
    AckCommitting,
    /// The commit returned, and nobody was told.
    Committed,
    /// The same for a commit with acknowledgements.
    AckCommitted,
    /// The dead letter is written, and its message is still in the queue.
    DeadLetterMoving,
}

/// A way in which wasmpost is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Break {
    /// Callers are answered before the commit that covers them.
    AckBeforeCommit,
    /// Commits do not wait for the disk.
    FsyncSkipped,
    /// Leases that were lost still settle their message.
    NoFencing,
    /// A delivery is counted when it fails, rather than when it begins.
    CountAtFailure,
    /// The messages of a receiver are sent before its message is acknowledged, not with it.
    OutboxEarly,
    /// A process does not look at deliveries that were in flight when the last one ended.
    FlightIgnored,
    /// Each message of a batch is settled by the result of another one.
    ResultsShifted,
}

impl Point {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Leased,
        Self::FlightNoted,
        Self::BeforeGuest,
        Self::GuestOk,
        Self::Acked,
        Self::Committing,
        Self::AckCommitting,
        Self::Committed,
        Self::AckCommitted,
        Self::DeadLetterMoving,
    ];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Leased => "leased",
            Self::FlightNoted => "flight-noted",
            Self::BeforeGuest => "before-guest",
            Self::GuestOk => "guest-ok",
            Self::Acked => "acked",
            Self::Committing => "committing",
            Self::AckCommitting => "ack-committing",
            Self::Committed => "committed",
            Self::AckCommitted => "ack-committed",
            Self::DeadLetterMoving => "dead-letter-moving",
        }
    }
}

impl Break {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AckBeforeCommit,
        Self::FsyncSkipped,
        Self::NoFencing,
        Self::CountAtFailure,
        Self::OutboxEarly,
        Self::FlightIgnored,
        Self::ResultsShifted,
    ];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::AckBeforeCommit => "ack-before-commit",
            Self::FsyncSkipped => "fsync-skipped",
            Self::NoFencing => "no-fencing",
            Self::CountAtFailure => "count-at-failure",
            Self::OutboxEarly => "outbox-early",
            Self::FlightIgnored => "flight-ignored",
            Self::ResultsShifted => "results-shifted",
        }
    }
}

/// Takes note that a point is passed. It may not return.
#[inline]
pub fn pass(point: Point) {
    #[cfg(feature = "prove")]
    switched::pass(point);
    #[cfg(not(feature = "prove"))]
    let _ = point;
}

/// Whether a commit is to fail as if the disk had not taken it. Asked before, and then, if that was no, after the commit.
#[inline]
pub fn commit_fails() -> bool {
    #[cfg(feature = "prove")]
    return switched::commit_fails();
    #[cfg(not(feature = "prove"))]
    false
}

/// The wall clock, if it is not that of the system.
#[inline]
pub fn wall() -> Option<Timestamp> {
    #[cfg(feature = "prove")]
    return switched::wall();
    #[cfg(not(feature = "prove"))]
    None
}

/// Which start of the machine this is, if it is not that of the system.
#[inline]
pub fn boot() -> Option<[u8; 16]> {
    #[cfg(feature = "prove")]
    return switched::boot();
    #[cfg(not(feature = "prove"))]
    None
}

/// Whether wasmpost is broken in this way.
#[inline]
pub fn is_broken(by: Break) -> bool {
    #[cfg(feature = "prove")]
    return switched::is_broken(by);
    #[cfg(not(feature = "prove"))]
    {
        let _ = by;
        false
    }
}
