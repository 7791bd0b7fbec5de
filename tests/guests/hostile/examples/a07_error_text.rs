//! Fails with a text of 100 MiB.

use hostile::{Failure, Message};

hostile::guest!(receive);

fn receive(_: &Message) -> Result<(), Failure> {
    Err(Failure::Retry("x".repeat(100 << 20)))
}
