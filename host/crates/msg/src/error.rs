//! Errors of receivers: why a message was not processed, and how to settle it.

use std::fmt;
use std::time::Duration;

/// The error of a receiver: how to settle the message, the kind of failure, and a text for people.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use wasmpost_msg::{Disposition, Reason, ReceiveError};
///
/// let busy = ReceiveError::retry_after(Duration::from_secs(30), "the other side is busy");
/// assert_eq!(busy.disposition(), Disposition::RetryAfter(Duration::from_secs(30)));
///
/// let useless = ReceiveError::reject("this is no JSON");
/// assert_eq!(useless.reason(), Reason::Rejected);
/// assert_eq!(useless.to_string(), "rejected: this is no JSON");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiveError {
    disposition: Disposition,
    reason: Reason,
    text: String,
    backtrace: Option<String>,
}

/// The way to settle a message that was not processed.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use wasmpost_msg::{Disposition, Reason, ReceiveError};
///
/// let later = ReceiveError::retry_after(Duration::from_secs(30), "the other side is busy");
/// assert_eq!(later.disposition(), Disposition::RetryAfter(Duration::from_secs(30)));
///
/// // A fault of the host counts no attempt.
/// let busy = ReceiveError::new(Disposition::GiveBack, Reason::HostBusy, "no connection is free");
/// assert_eq!(busy.disposition(), Disposition::GiveBack);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Deliver it again when the retry policy says.
    Retry,
    /// Deliver it again, not before this time has passed.
    RetryAfter(Duration),
    /// Delivering it again is useless: dead-letter it now.
    Reject,
    /// The host is at fault, not the receiver: give the delivery back without counting it.
    GiveBack,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The kind of a failure, in the words that dead letters, logs and filters use.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason { $($(#[$doc])* $variant,)* }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Reason] = &[$(Reason::$variant,)*];

            /// The word for it, such as `cpu-limit`.
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$variant => $name,)* }
            }
        }
    };
}

reasons! {
    /// The receiver returned an error.
    Failed = "failed",
    /// The receiver returned errors until no attempt was left.
    Attempts = "attempts",
    /// The receiver said that delivering the message again is useless.
    Rejected = "rejected",
    /// A native receiver panicked.
    Panic = "panic",
    /// The guest trapped.
    Trap = "trap",
    /// The guest used up its CPU time.
    CpuLimit = "cpu-limit",
    /// The guest asked for more memory than it may have.
    MemoryLimit = "memory-limit",
    /// The guest asked for larger tables than it may have.
    TableLimit = "table-limit",
    /// The guest held more handles than it may.
    HandleLimit = "handle-limit",
    /// The guest published more than it may.
    PublishLimit = "publish-limit",
    /// The guest returned more than the host takes.
    ResultTooLarge = "result-too-large",
    /// The guest returned another number of results than it had messages.
    ResultCount = "result-count",
    /// The call took longer than it may.
    Timeout = "timeout",
    /// The body is larger than the receiver takes.
    BodyTooLarge = "body-too-large",
    /// The message went through more receivers than it may.
    Loop = "loop",
    /// The process ended while the message was being processed.
    Crash = "crash",
    /// The lease lapsed while the message was being processed.
    LeaseExpired = "lease-expired",
    /// The host stopped while the message was being processed.
    Shutdown = "shutdown",
    /// The host had no room for another instance.
    HostBusy = "host-busy",
    /// Another message that the same instance had ended it.
    InstanceEnded = "instance-ended",
    /// Something in the host failed.
    HostFault = "host-fault",
}

impl ReceiveError {
    /// The receiver failed; the message should be delivered again when the retry policy says.
    pub fn retry(text: impl Into<String>) -> Self {
        Self::new(Disposition::Retry, Reason::Failed, text)
    }

    /// The receiver failed; the message should be delivered again, not before `delay` has passed.
    pub fn retry_after(delay: Duration, text: impl Into<String>) -> Self {
        Self::new(Disposition::RetryAfter(delay), Reason::Failed, text)
    }

    /// The receiver cannot process the message, now or later.
    pub fn reject(text: impl Into<String>) -> Self {
        Self::new(Disposition::Reject, Reason::Rejected, text)
    }

    /// An error with every part given.
    pub fn new(disposition: Disposition, reason: Reason, text: impl Into<String>) -> Self {
        Self { disposition, reason, text: text.into(), backtrace: None }
    }

    /// The same error with the backtrace of the guest.
    #[must_use]
    pub fn with_backtrace(mut self, backtrace: impl Into<String>) -> Self {
        self.backtrace = Some(backtrace.into());
        self
    }

    /// The way to settle the message.
    pub fn disposition(&self) -> Disposition {
        self.disposition
    }

    /// The kind of failure.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The text for people. It may come from a guest: escape it where it is shown.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The backtrace of the guest, one frame a line, where there is one.
    pub fn backtrace(&self) -> Option<&str> {
        self.backtrace.as_deref()
    }
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.reason, self.text)
    }
}

impl std::error::Error for ReceiveError {}

impl From<std::io::Error> for ReceiveError {
    fn from(error: std::io::Error) -> Self {
        Self::retry(error.to_string())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl std::str::FromStr for Reason {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == word).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|reason| reason.as_str()).collect();
            format!("unknown reason {word:?}; known are {}", known.join(", "))
        })
    }
}
