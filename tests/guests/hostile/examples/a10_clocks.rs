//! Looks at the clocks of the host as closely as they let it, and tells whether they show more than milliseconds.

use hostile::wasi::clocks::{monotonic_clock, wall_clock};
use hostile::{Failure, Message};

hostile::guest!(receive);

fn receive(_: &Message) -> Result<(), Failure> {
    const MILLISECOND: u64 = 1_000_000;
    let fine = |nanoseconds: u64| nanoseconds % MILLISECOND != 0;
    let looks = || (fine(monotonic_clock::now()), fine(wall_clock::now().nanoseconds.into()));
    let seen: Vec<_> = (0..100).map(|_| looks()).collect();
    let monotonic = seen.iter().any(|look| look.0);
    let wall = seen.iter().any(|look| look.1);
    let resolution = (monotonic_clock::resolution(), wall_clock::resolution().nanoseconds);
    hostile::tell(&format!("finer than a millisecond: {monotonic} {wall}; resolution: {resolution:?}"))
}
