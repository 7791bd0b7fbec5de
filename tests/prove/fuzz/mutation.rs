//! Inputs that are almost right: samples with a few changes, so that a failing one can be made small.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// One change of some bytes.
#[derive(Debug, Clone)]
enum Change {
    Flip(Index, u8),
    Set(Index, u8),
    Remove(Index, usize),
    Insert(Index, Vec<u8>),
    /// Copies a piece to another place.
    Copy(Index, Index, usize),
    Cut(Index),
}

fn change(words: Vec<Vec<u8>>) -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), 0_u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (at(), prop_oneof![Just(0), Just(0x7f), Just(0x80), Just(0xff), any::<u8>()])
            .prop_map(|(at, to)| Change::Set(at, to)),
        (at(), 1_usize..64).prop_map(|(at, bytes)| Change::Remove(at, bytes)),
        (at(), prop_oneof![select(words), vec(any::<u8>(), 1..16)]).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (at(), at(), 1_usize..256).prop_map(|(from, to, bytes)| Change::Copy(from, to, bytes)),
        at().prop_map(Change::Cut),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let place = |at: &Index, bytes: &[u8]| at.index(bytes.len() + 1);
    match change {
        Change::Flip(at, _) | Change::Set(at, _) => {
            let at = place(at, bytes);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = match change {
                    Change::Flip(_, bit) => *byte ^ (1 << bit),
                    Change::Set(_, to) => *to,
                    _ => *byte,
                };
            }
        }
        Change::Remove(at, count) => {
            let at = place(at, bytes);
            let end = (at + count).min(bytes.len());
            drop(bytes.drain(at..end));
        }
        Change::Insert(at, inserted) => {
            let at = place(at, bytes);
            drop(bytes.splice(at..at, inserted.iter().copied()));
        }
        Change::Copy(from, to, count) => {
            let from = place(from, bytes);
            let to = place(to, bytes);
            let piece = bytes[from..(from + count).min(bytes.len())].to_vec();
            drop(bytes.splice(to..to, piece));
        }
        Change::Cut(at) => bytes.truncate(place(at, bytes)),
    }
}

/// Samples with up to `changes_max` changes; `words` are what may be put in.
pub(crate) fn changed(
    samples: Vec<Vec<u8>>,
    words: &[&str],
    changes_max: usize,
) -> impl Strategy<Value = Vec<u8>> + use<> {
    let words = words.iter().map(|word| word.as_bytes().to_vec()).chain([b"\0".to_vec()]).collect();
    (select(samples), vec(change(words), 0..=changes_max)).prop_map(|(mut bytes, changes)| {
        changes.iter().for_each(|change| apply(&mut bytes, change));
        bytes
    })
}

/// The same as text.
pub(crate) fn changed_text(
    samples: &[&str],
    words: &[&str],
    changes_max: usize,
) -> impl Strategy<Value = String> + use<> {
    let samples = samples.iter().map(|sample| sample.as_bytes().to_vec()).collect();
    changed(samples, words, changes_max).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}
