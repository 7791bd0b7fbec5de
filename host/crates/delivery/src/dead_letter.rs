//! Dead letters, and the evidence that they carry.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wasmpost_msg::{Attributes, Reason};

use crate::error::BrokerError;
use crate::timestamp::Timestamp;

/// How many attempts a broker keeps of one message: the last ones.
pub const HISTORY_MAX: usize = 32;

/// The most bytes of dead letters in one page, unless its only letter is larger.
pub const PAGE_BYTES_MAX: usize = 4 << 20;

/// A message that will not be delivered again unless somebody asks for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The id of the message.
    pub id: String,
    /// The queue that it died in.
    pub queue: String,
    /// The topic that it was written to.
    pub topic: String,
    /// The metadata as it came.
    pub attributes: Attributes,
    /// The content as it came.
    #[serde(skip)]
    pub body: Bytes,
    /// The ordering key.
    pub key: Option<String>,
    /// How many receivers the message came through.
    pub hops: u32,
    /// How often it was delivered.
    pub deliveries: u32,
    /// The time at which it was published.
    pub published_at: Timestamp,
    /// The time at which it died.
    pub dead_at: Timestamp,
    /// The reason for which it died.
    pub evidence: Evidence,
    /// The last [`HISTORY_MAX`] attempts with their outcomes, oldest first.
    pub attempts: Vec<Attempt>,
}

/// The reason for which a message died.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The kind of failure.
    #[serde(serialize_with = "reason_word", deserialize_with = "reason_of_word")]
    pub reason: Reason,
    /// The text of the last error. It may come from a guest: escape it where it is shown.
    pub error: String,
    /// The backtrace of the guest, one frame a line.
    pub backtrace: Option<String>,
    /// The receiver that failed.
    pub receiver: Option<String>,
    /// The digest of the component that failed.
    pub component: Option<String>,
    /// The version that the component says of itself.
    pub component_version: Option<String>,
    /// CPU time of the last attempt; in JSON in microseconds.
    #[serde(rename = "cpu_us", with = "crate::micros")]
    pub cpu: Duration,
    /// Time of the last attempt from the start of the call to its end; in JSON in microseconds.
    #[serde(rename = "wall_us", with = "crate::micros", default)]
    pub wall: Duration,
    /// The most memory that the guest held in the last attempt, in bytes.
    pub memory_peak_bytes: u64,
    /// Bodies and attributes that the guest wrote in the last attempt to be published, in bytes. They were dropped.
    #[serde(default)]
    pub published_bytes: u64,
    /// The last attempt; none where the receiver was not called.
    pub attempt: Option<Attempt>,
}

/// An attempt and its outcome.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use wasmpost_delivery::{Attempt, AttemptVerdict, HISTORY_MAX, Timestamp};
/// use wasmpost_msg::Reason;
///
/// let mut history = Vec::new();
/// for number in 1..=40 {
///     let attempt = Attempt {
///         number,
///         started_at: Timestamp(0),
///         duration: Duration::from_millis(3),
///         verdict: AttemptVerdict::Nack,
///         delay: Some(Duration::from_secs(1)),
///         reason: Reason::Trap,
///         error: "unreachable".into(),
///     };
///     attempt.add_to(&mut history);
/// }
/// assert_eq!((history.len(), history[0].number), (HISTORY_MAX, 9));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The number of the delivery, from 1.
    pub number: u32,
    /// The time at which it began.
    pub started_at: Timestamp,
    /// How long it took; in JSON in microseconds.
    #[serde(rename = "duration_us", with = "crate::micros")]
    pub duration: Duration,
    /// The verdict.
    pub verdict: AttemptVerdict,
    /// For a nack, the time until the message could be delivered again; in JSON in microseconds.
    #[serde(rename = "delay_us", with = "optional_micros")]
    pub delay: Option<Duration>,
    /// The kind of failure.
    #[serde(serialize_with = "reason_word", deserialize_with = "reason_of_word")]
    pub reason: Reason,
    /// The first 256 bytes of the error.
    pub error: String,
}

/// The verdict on a failed attempt, as it is written in JSON and tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttemptVerdict {
    /// The message is delivered again.
    Nack,
    /// The message became a dead letter.
    Reject,
}

/// A filter of dead letters. An empty filter matches all.
///
/// # Examples
///
/// ```
/// use wasmpost_delivery::DeadLetterFilter;
/// use wasmpost_msg::Reason;
///
/// let filter = DeadLetterFilter {
///     queue: Some("orders".into()),
///     reason: Some("cpu-limit".parse::<Reason>()?),
///     ..DeadLetterFilter::default()
/// };
/// # assert_eq!(filter.reason, Some(Reason::CpuLimit));
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Those of these messages.
    pub ids: Vec<String>,
    /// Those of this queue.
    pub queue: Option<String>,
    /// Those that died for this reason.
    pub reason: Option<Reason>,
}

/// A dead letter in a list, which leaves its body where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// The letter, without its body.
    #[serde(flatten)]
    pub letter: DeadLetter,
    /// How large the body is, in bytes.
    pub body_bytes: u64,
}

/// Looks at dead letters and decides what becomes of them.
///
/// Lists come in pages. A page ends at a number, or where it would take more than [`PAGE_BYTES_MAX`]; behind the last
/// letter there are empty pages.
///
/// # Examples
///
/// ```
/// use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
/// use wasmpost_delivery::{Broker, DeadLetterFilter, DeadLetters, Evidence, Listed, QueueSpec};
/// use wasmpost_msg::{Attributes, Publication, Reason};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = MemoryBroker::new(MemoryOptions::default());
/// let queue = broker.queue(QueueSpec::new("orders")).await?;
/// broker.publish(vec![Publication::new("orders", Attributes::new(), "one")]).await?;
/// let delivery = queue.pull(1).await?.remove(0);
/// delivery.lease.reject(Evidence::by_host(Reason::Rejected, "no such customer")).await?;
///
/// let rejected = DeadLetterFilter { reason: Some(Reason::Rejected), ..DeadLetterFilter::default() };
/// let letters: &dyn DeadLetters = broker.dead_letters().expect("a broker in memory keeps them");
/// let page: Vec<Listed> = letters.list(&rejected, 0, 50).await?;
/// assert_eq!((page[0].letter.evidence.error.as_str(), page[0].body_bytes), ("no such customer", 3));
/// assert_eq!(letters.redrive(&rejected).await?, 1);
/// assert_eq!(queue.pull(1).await?[0].body, "one");
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// A page of at most `max` dead letters without their bodies, oldest first, after skipping `skip`.
    ///
    /// # Errors
    ///
    /// `Unavailable` where the broker cannot be reached now, `Corrupt` where what is stored cannot be read, `Closed`
    /// after the broker was closed.
    async fn list(&self, filter: &DeadLetterFilter, skip: usize, max: usize) -> Result<Vec<Listed>, BrokerError>;

    /// The same with their bodies.
    ///
    /// # Errors
    ///
    /// `Unavailable` where the broker cannot be reached now, `Corrupt` where what is stored cannot be read, `Closed`
    /// after the broker was closed.
    async fn show(&self, filter: &DeadLetterFilter, skip: usize, max: usize) -> Result<Vec<DeadLetter>, BrokerError>;

    /// How many dead letters there are, counted up to `max`.
    ///
    /// # Errors
    ///
    /// `Unavailable` where the broker cannot be reached now, `Corrupt` where what is stored cannot be read, `Closed`
    /// after the broker was closed.
    async fn count(&self, filter: &DeadLetterFilter, max: u64) -> Result<u64, BrokerError> {
        const PAGE: u64 = 500;
        let mut count = 0;
        while count < max {
            let page = self.list(filter, count as usize, PAGE.min(max - count) as usize).await?;
            if page.is_empty() {
                break;
            }
            count += page.len() as u64;
        }
        Ok(count)
    }

    /// Puts dead letters back into the queues that they died in, with no failures counted; says how many.
    ///
    /// # Errors
    ///
    /// `Unavailable` where the broker cannot be reached now, `Corrupt` where what is stored cannot be read, `Closed`
    /// after the broker was closed. Some of the letters may be done by then; the others are as they were.
    async fn redrive(&self, filter: &DeadLetterFilter) -> Result<u64, BrokerError>;

    /// Deletes dead letters; says how many.
    ///
    /// # Errors
    ///
    /// `Unavailable` where the broker cannot be reached now, `Corrupt` where what is stored cannot be read, `Closed`
    /// after the broker was closed. Some of the letters may be done by then; the others are as they were.
    async fn purge(&self, filter: &DeadLetterFilter) -> Result<u64, BrokerError>;
}

/// Letters that are collected until a page is full.
///
/// # Examples
///
/// ```
/// use wasmpost_delivery::{PAGE_BYTES_MAX, Page, Paged};
///
/// struct Letter;
///
/// impl Paged for Letter {
///     fn bytes(&self) -> usize {
///         PAGE_BYTES_MAX / 4
///     }
/// }
///
/// // Ten letters, or four mebibytes.
/// let mut page = Page::new(10);
/// while page.add(Letter) {}
/// assert_eq!(page.into_letters().len(), 4);
/// ```
#[derive(Debug)]
pub struct Page<T> {
    letters: Vec<T>,
    bytes: usize,
    letters_max: usize,
}

impl<T: Paged> Page<T> {
    /// An empty page for so many letters.
    pub fn new(letters_max: usize) -> Self {
        Self { letters: Vec::new(), bytes: 0, letters_max }
    }

    /// Adds a letter, if it has room; a letter that is alone always has. Says whether others may have.
    pub fn add(&mut self, letter: T) -> bool {
        self.bytes = self.bytes.saturating_add(letter.bytes());
        let has_room = self.bytes <= PAGE_BYTES_MAX || self.letters.is_empty();
        if has_room && self.letters.len() < self.letters_max {
            self.letters.push(letter);
        }
        self.bytes < PAGE_BYTES_MAX && self.letters.len() < self.letters_max
    }

    /// The letters.
    pub fn into_letters(self) -> Vec<T> {
        self.letters
    }
}

/// A letter in a page.
pub trait Paged {
    /// About as much memory as it takes, in bytes.
    fn bytes(&self) -> usize;
}

impl Paged for DeadLetter {
    fn bytes(&self) -> usize {
        // Names, times and numbers.
        const BESIDES: usize = 512;
        let evidence = self.evidence.error.len() + self.evidence.backtrace.as_ref().map_or(0, String::len);
        let attempts: usize = self.attempts.iter().map(|attempt| BESIDES + attempt.error.len()).sum();
        BESIDES + self.body.len() + self.attributes.bytes() + evidence + attempts
    }
}

impl Paged for Listed {
    fn bytes(&self) -> usize {
        self.letter.bytes()
    }
}

impl From<DeadLetter> for Listed {
    fn from(letter: DeadLetter) -> Self {
        let body_bytes = letter.body.len() as u64;
        Self { letter: DeadLetter { body: Bytes::new(), ..letter }, body_bytes }
    }
}

impl DeadLetterFilter {
    /// The same without regard to ids.
    #[must_use]
    pub fn of_any_id(&self) -> Self {
        Self { ids: Vec::new(), queue: self.queue.clone(), reason: self.reason }
    }

    /// Whether a dead letter is meant.
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        (self.ids.is_empty() || self.ids.contains(&letter.id))
            && self.queue.as_ref().is_none_or(|queue| *queue == letter.queue)
            && self.reason.is_none_or(|reason| reason == letter.evidence.reason)
    }
}

impl Evidence {
    /// Evidence that the host itself has: no receiver was at work.
    pub fn by_host(reason: Reason, error: impl Into<String>) -> Self {
        Self {
            reason,
            error: error.into(),
            backtrace: None,
            receiver: None,
            component: None,
            component_version: None,
            cpu: Duration::ZERO,
            wall: Duration::ZERO,
            memory_peak_bytes: 0,
            published_bytes: 0,
            attempt: None,
        }
    }
}

impl std::fmt::Display for AttemptVerdict {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Nack => "nack",
            Self::Reject => "reject",
        })
    }
}

fn reason_word<S: Serializer>(reason: &Reason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(reason.as_str())
}

fn reason_of_word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Reason, D::Error> {
    // A newer wasmpost may have written a reason that this one does not know: the letter must still be readable.
    Ok(String::deserialize(deserializer)?.parse().unwrap_or(Reason::Failed))
}

mod optional_micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        duration.map(|duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_read_and_written_in_the_words_that_files_have() {
        for (word, verdict) in [("nack", AttemptVerdict::Nack), ("reject", AttemptVerdict::Reject)] {
            let stored = format!(
                "{{\"number\":1,\"started_at\":3,\"duration_us\":4,\"verdict\":\"{word}\",\"delay_us\":null,\"reason\":\"trap\",\"error\":\"x\"}}"
            );
            let attempt: Attempt = serde_json::from_str(&stored).unwrap();
            assert_eq!((attempt.verdict, attempt.verdict.to_string().as_str()), (verdict, word));
            assert_eq!(serde_json::to_string(&attempt).unwrap(), stored);
        }
    }
}
