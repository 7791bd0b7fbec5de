//! Fails with a text of as many `bytes` as its configuration says.

use hostile::{Failure, Message};

hostile::guest!(receive);

fn receive(_: &Message) -> Result<(), Failure> {
    Err(Failure::Retry("x".repeat(hostile::configured_number("bytes") as usize)))
}
