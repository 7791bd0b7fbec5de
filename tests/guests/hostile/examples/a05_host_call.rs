//! Calls itself without end, and the host at every depth: the last time right before its stack ends.

use hostile::{Failure, Message};

hostile::guest!(receive);

fn receive(message: &Message) -> Result<(), Failure> {
    let depth = dive(message);
    Err(Failure::Reject(format!("{depth} calls deep")))
}

fn dive(message: &Message) -> u32 {
    let below = if message.attempt() == 0 { 0 } else { dive(std::hint::black_box(message)) };
    std::hint::black_box(below) + 1
}
