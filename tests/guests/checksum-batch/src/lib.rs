//! Adds up the words of each body of a batch, as `checksum` does of one.

use exports::wasmpost::messaging::receiver_batch::{Failure, Guest, Message};

wit_bindgen::generate!({ path: "../../../wit", world: "wasmpost:messaging/batch-plugin", generate_all });

/// A sum that no body of a measurement has.
const NEVER: u64 = 0x5bd1_e995_97f4_a7c5;

struct Checksum;

export!(Checksum);

impl Guest for Checksum {
    fn receive_batch(messages: Vec<Message>) -> Vec<Result<(), Failure>> {
        messages.iter().map(sum).collect()
    }
}

fn sum(message: &Message) -> Result<(), Failure> {
    let body = message.body();
    let (words, _) = body.as_chunks::<8>();
    let sum = words.iter().fold(0_u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    if sum == NEVER { Err(Failure::Reject("checksum".into())) } else { Ok(()) }
}
