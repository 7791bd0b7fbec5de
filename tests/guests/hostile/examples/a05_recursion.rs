//! Calls itself without end.

use hostile::{Failure, Message};

hostile::guest!(receive);

fn receive(message: &Message) -> Result<(), Failure> {
    let depth = dive(u64::from(message.attempt()));
    Err(Failure::Reject(format!("{depth} calls deep")))
}

fn dive(depth: u64) -> u64 {
    let below = if depth == 0 { 0 } else { dive(std::hint::black_box(depth + 1)) };
    std::hint::black_box(below) + 1
}
