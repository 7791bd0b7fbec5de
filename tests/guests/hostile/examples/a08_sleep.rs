//! Sleeps for a year.

use hostile::wasi::clocks::monotonic_clock::subscribe_duration;
use hostile::{Failure, Message};

hostile::guest!(receive);

fn receive(_: &Message) -> Result<(), Failure> {
    subscribe_duration(365 * 24 * 60 * 60 * 1_000_000_000).block();
    Ok(())
}
