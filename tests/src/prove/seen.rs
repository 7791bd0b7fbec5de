//! The view of a host from outside: the messages that were confirmed to publishers, and the content of its queue file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::prove::log::Event;

/// The standing of a message, as its publisher knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It was sent, and no answer came.
    Unknown,
    /// It was answered that the message is stored.
    Confirmed,
    /// It was answered that the message is not stored.
    Refused,
}

/// A message that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its standing.
    pub standing: Standing,
    /// The number of the life in which that became known, from 0.
    pub life: usize,
    /// When it was sent first, as a number that grows.
    pub place: usize,
    /// Whether it was sent again, which loses its place among those with its key.
    pub again: bool,
}

/// All messages that were sent, and a file that lists them, to look for a fault.
#[derive(Debug)]
pub struct Ledger {
    /// By id.
    pub sent: BTreeMap<String, Sent>,
    /// The number of the life that goes on.
    pub life: usize,
    file: Option<File>,
}

/// A message that waits or is in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The id.
    pub id: String,
    /// How often it was delivered.
    pub deliveries: u32,
    /// How often the process ended while it had the message.
    pub crashes: u32,
    /// Whether it is leased.
    pub is_leased: bool,
    /// The digest of attributes and body.
    pub digest: u64,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// The id.
    pub id: String,
    /// The reason for which it died.
    pub reason: String,
    /// How often it was delivered.
    pub deliveries: u32,
    /// How many of its attempts ended with the process.
    pub crashes: u32,
    /// The digest of attributes and body.
    pub digest: u64,
}

/// A message that a receiver published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The id of the message that it had.
    pub source: String,
    /// Which of those that it published.
    pub number: String,
    /// Which attempt published it.
    pub attempt: u32,
    /// The digest of attributes and body.
    pub digest: u64,
}

/// The content of a queue file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Messages of the queue.
    pub waiting: Vec<Waiting>,
    /// Dead letters.
    pub dead: Vec<Dead>,
    /// The published messages.
    pub copies: Vec<Copy>,
    /// How many messages of the queue were acked, as the file counts.
    pub acked: usize,
    /// Faults that SQLite finds in the file, and messages that belong to nothing.
    pub damage: Vec<String>,
}

/// One process that served, and what it left.
#[derive(Debug, Clone, Default)]
pub struct Life {
    /// The events in its log.
    pub events: Vec<Event>,
    /// The content of the file after its end.
    pub after: Snapshot,
}

impl Default for Ledger {
    /// An empty ledger without a file.
    fn default() -> Self {
        Self { sent: BTreeMap::new(), life: 0, file: None }
    }
}

impl Ledger {
    /// An empty ledger that is kept in a file as well.
    pub fn kept_in(path: &Path) -> std::io::Result<Self> {
        Ok(Self { sent: BTreeMap::new(), life: 0, file: Some(File::create(path)?) })
    }

    /// Notes that a message is being sent.
    pub fn send(&mut self, id: &str) {
        let place = self.sent.len();
        self.note("sent", id);
        self.sent.entry(id.to_owned()).and_modify(|sent| sent.again = true).or_insert(Sent {
            standing: Standing::Unknown,
            life: self.life,
            place,
            again: false,
        });
    }

    /// Notes what was answered.
    pub fn answer(&mut self, id: &str, standing: Standing) {
        self.note(if standing == Standing::Confirmed { "confirmed" } else { "refused" }, id);
        if let Some(sent) = self.sent.get_mut(id) {
            (sent.standing, sent.life) = (standing, self.life);
        }
    }

    /// The messages whose publishers got no answer.
    pub fn unknown(&self) -> impl Iterator<Item = &str> {
        self.sent.iter().filter(|(_, sent)| sent.standing == Standing::Unknown).map(|(id, _)| id.as_str())
    }

    fn note(&mut self, what: &str, id: &str) {
        if let Some(file) = &mut self.file {
            // It helps to understand a fault, and the checks do not read it.
            drop(writeln!(file, "{what} {id}"));
        }
    }
}
