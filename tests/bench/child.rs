//! The same work in a process of its own, as peers of the benchmark: one for each message, or one that lives on.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A fault shows in the benchmark.

use std::io::{Read, Write};

/// The sum of the words of a body: what guests do as well.
fn checksum(body: &[u8]) -> u64 {
    let (words, _) = body.as_chunks::<8>();
    words.iter().fold(0, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)))
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let sums = arguments[2] == "checksum";
    let mut input = std::io::stdin().lock();
    let mut output = std::io::stdout().lock();
    let mut body = Vec::new();
    if arguments[1] == "once" {
        input.read_to_end(&mut body).unwrap();
        if sums {
            std::hint::black_box(checksum(&body));
        }
        return;
    }
    // Until the other end is closed: a length, as many bytes, and a byte in answer.
    let mut length = [0; 4];
    while input.read_exact(&mut length).is_ok() {
        body.resize(u32::from_le_bytes(length) as usize, 0);
        input.read_exact(&mut body).unwrap();
        if sums {
            std::hint::black_box(checksum(&body));
        }
        output.write_all(&[0]).unwrap();
        output.flush().unwrap();
    }
}
