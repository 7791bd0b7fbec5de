//! Sleeps for the `nanoseconds` of its configuration, just less than it may, to keep its slot.

use hostile::wasi::clocks::monotonic_clock::subscribe_duration;
use hostile::{Failure, Message};

hostile::guest!(receive);

fn receive(_: &Message) -> Result<(), Failure> {
    subscribe_duration(hostile::configured_number("nanoseconds")).block();
    Ok(())
}
