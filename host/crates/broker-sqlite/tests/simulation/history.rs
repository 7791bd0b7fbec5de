//! The events of a simulation, in their order.

use std::time::Duration;

use wasmpost_msg::Publication;

/// Milliseconds since the simulation began.
pub type Time = u64;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub at: Time,
    pub what: What,
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A process began, while the wall clock was set this far, in milliseconds.
    Life {
        wall: i64,
    },
    /// Somebody outside wants to publish a message.
    Publishing(Publication),
    /// A publish was confirmed.
    Confirmed {
        id: String,
    },
    /// A delivery was leased.
    Leased(Taken),
    /// A lease is about to be renewed.
    Renewing {
        lease: usize,
    },
    /// A lease was renewed.
    Renewed {
        lease: usize,
    },
    /// The attempt counts from now on, and the receiver is to be called.
    Begun {
        lease: usize,
    },
    /// A receiver was called.
    Began {
        lease: usize,
        running: Running,
    },
    /// A receiver returned.
    Answered {
        lease: usize,
        answer: Answer,
        published: usize,
    },
    /// A lease is about to be settled.
    Settling {
        lease: usize,
        how: How,
    },
    /// It was settled, or was not.
    Settled {
        lease: usize,
        outcome: Outcome,
    },
    /// An acknowledgement is committed and on disk.
    Durable {
        lease: usize,
    },
    /// A process ended without order; its leases are free at once where its store ended with it.
    Crashed {
        /// The point that it passed, if it was that.
        at: Option<&'static str>,
        frees: bool,
    },
    /// Power was cut after a process had ended.
    PowerCut,
    /// A commit failed in a way that leaves unknown what is on disk.
    CommitFailed,
    /// A process was shut down in order.
    Drained(Left),
    /// An operator deletes dead letters, or has them delivered again.
    Purging {
        queue: String,
        id: String,
    },
    Redriving {
        queue: String,
        id: String,
    },
    /// From now on nothing fails any more.
    Calm,
    /// Not everything ended in time after that.
    Stuck {
        left: String,
    },
    /// The file could not be opened again.
    Unreadable {
        error: String,
    },
    /// The state at the end.
    End {
        dead: Vec<Dead>,
        expired: u64,
        left: u64,
    },
}

/// A delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// The number of the lease, counted through the whole simulation.
    pub lease: usize,
    pub queue: String,
    pub message: Publication,
    pub id: String,
    pub deliveries: u32,
    pub failures: u32,
    pub lasts: Duration,
}

/// How many receivers run.
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    pub of_receiver: usize,
    pub of_receiver_max: usize,
    pub of_share: usize,
    pub of_share_max: usize,
}

/// The result of a receiver.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Ok,
    Retry,
    RetryAfter(Duration),
    Reject,
    Trap,
    GiveBack,
}

/// How a lease is settled.
#[derive(Debug, Clone, PartialEq)]
pub enum How {
    Ack {
        published: usize,
    },
    Nack {
        delay: Duration,
        counted: bool,
    },
    Reject,
    /// Dropped, and so given back.
    Drop,
}

/// The outcome of settling.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    Done,
    /// The lease was lost before.
    Stale,
    /// The store was closed before.
    Closed,
    /// It failed otherwise, and the message stays leased.
    Failed,
}

/// The remains of a process that was shut down in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Left {
    pub in_flight: usize,
    pub running: usize,
    /// Whether all servers had ended.
    pub ended: bool,
    /// Leases in the store, where all that it has were of this process.
    pub leased: Option<u64>,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq)]
pub struct Dead {
    pub queue: String,
    pub id: String,
    pub message: Publication,
    pub reason: &'static str,
}
