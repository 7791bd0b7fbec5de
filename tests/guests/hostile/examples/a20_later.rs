//! Asks for its message again after the `nanoseconds` of its configuration.

use hostile::{Failure, Message};

hostile::guest!(receive);

fn receive(_: &Message) -> Result<(), Failure> {
    Err(Failure::RetryAfter((hostile::configured_number("nanoseconds"), "not now".into())))
}
