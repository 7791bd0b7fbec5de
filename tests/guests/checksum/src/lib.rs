//! Adds up the words of the body, so that it has to be there in full and be looked at.

use exports::wasmpost::messaging::receiver::{Failure, Guest, Message};

wit_bindgen::generate!({ path: "../../../wit", world: "wasmpost:messaging/plugin", generate_all });

/// A sum that no body of a measurement has.
const NEVER: u64 = 0x5bd1_e995_97f4_a7c5;

struct Checksum;

export!(Checksum);

impl Guest for Checksum {
    fn receive(message: &Message) -> Result<(), Failure> {
        let body = message.body();
        let (words, _) = body.as_chunks::<8>();
        let sum = words.iter().fold(0_u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
        if sum == NEVER { Err(Failure::Reject("checksum".into())) } else { Ok(()) }
    }
}
