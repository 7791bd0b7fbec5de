//! Asks to be woken by the clock again and again, and drops nothing.

use hostile::wasi::clocks::monotonic_clock::subscribe_duration;
use hostile::{Failure, Message};

hostile::guest!(receive);

fn receive(_: &Message) -> Result<(), Failure> {
    loop {
        std::mem::forget(subscribe_duration(1));
    }
}
