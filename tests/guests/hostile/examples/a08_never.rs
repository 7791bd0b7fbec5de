//! Waits for the last instant that there is.

use hostile::wasi::clocks::monotonic_clock::subscribe_instant;
use hostile::{Failure, Message};

hostile::guest!(receive);

fn receive(_: &Message) -> Result<(), Failure> {
    subscribe_instant(u64::MAX).block();
    Ok(())
}
