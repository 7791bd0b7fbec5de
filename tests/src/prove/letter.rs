//! Messages that ask the guest `obeying` for something. Everything in one follows from its id, so that the id is enough
//! to check it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A request to the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wish {
    /// Publish so many copies.
    Copies(u32),
    /// Ask for another delivery until this attempt is over, then publish a copy.
    Fail(u32),
    /// Say that the message can never be processed.
    Reject,
    /// Panic, then say that the message can never be processed. Were it to panic for ever, the receiver would soon be
    /// slowed so much that no proof comes to its end.
    Trap,
    /// Drop a writer unclosed, and close an empty one.
    Writers,
}

/// A message to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The id.
    pub id: String,
    /// Its request to the receiver.
    pub wish: Wish,
    /// The ordering key.
    pub key: Option<String>,
    /// All attributes.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// The content.
    pub body: Vec<u8>,
}

impl Letter {
    /// The message with this id, which is the name of its publisher and something after a space.
    pub fn of(id: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let mut random = fastrand::Rng::with_seed(hasher.finish());
        let wish = match random.u32(0..100) {
            0..70 => Wish::Copies(random.u32(1..4)),
            70..86 => Wish::Fail(random.u32(1..3)),
            86..91 => Wish::Reject,
            91..94 => Wish::Trap,
            _ => Wish::Writers,
        };
        let publisher = id.split(' ').next().unwrap_or_default();
        let key = (random.u32(0..4) == 0).then(|| format!("{publisher} key {}", random.u32(0..2)));
        let bytes = match random.u32(0..20) {
            0 => 0,
            1 => random.usize(4096..60_000),
            _ => random.usize(1..1024),
        };
        let body = std::iter::repeat_with(|| random.u8(..)).take(bytes).collect();
        let attributes = attributes(wish, &mut random);
        Self { id: id.to_owned(), wish, key, attributes, body }
    }

    /// How many messages it leaves when it is acked.
    pub fn copies(&self) -> u32 {
        match self.wish {
            Wish::Copies(copies) => copies,
            Wish::Fail(_) | Wish::Writers => 1,
            Wish::Reject | Wish::Trap => 0,
        }
    }

    /// The reason for which it ends among the dead letters, unless a crash takes it there.
    pub fn dies_of(&self) -> Option<&'static str> {
        match self.wish {
            Wish::Reject | Wish::Trap => Some("rejected"),
            _ => None,
        }
    }

    /// The digest of its body and attributes.
    pub fn digest(&self) -> u64 {
        digest(&self.attributes, &self.body)
    }

    /// The digest of its copies.
    pub fn copy_digest(&self) -> u64 {
        match self.wish {
            Wish::Writers => digest(&BTreeMap::new(), b""),
            _ => self.digest(),
        }
    }
}

fn attributes(wish: Wish, random: &mut fastrand::Rng) -> BTreeMap<String, Vec<String>> {
    let one = |name: &str, value: String| (name.to_owned(), vec![value]);
    let asked = match wish {
        Wish::Copies(copies) => vec![one("Do", "copy".into()), one("Copies", copies.to_string())],
        Wish::Fail(fails) => vec![one("Do", "fail".into()), one("Fails", fails.to_string())],
        Wish::Reject => vec![one("Do", "reject".into())],
        Wish::Trap => vec![one("Do", "trap".into()), one("Fails", "1".into())],
        Wish::Writers => vec![one("Do", "writers".into())],
    };
    let notes = ["plain", "\u{e9}\u{1f426} \"quoted\" \\u0000", ""].map(str::to_owned);
    let mut all: BTreeMap<_, _> = asked.into_iter().collect();
    all.insert("Spins".into(), vec![random.u32(0..1_500_000).to_string()]);
    all.insert("Note".into(), notes.into_iter().take(random.usize(1..4)).collect());
    all
}

/// The digest of attributes and a body.
pub fn digest(attributes: &BTreeMap<String, Vec<String>>, body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (attributes, body).hash(&mut hasher);
    hasher.finish()
}
