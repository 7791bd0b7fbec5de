//! Grows its memory until it gets no more, without touching it, and goes on as if it had got it.

use core::arch::wasm32::memory_grow;

use hostile::{Failure, Message};

hostile::guest!(receive);

fn receive(_: &Message) -> Result<(), Failure> {
    while memory_grow::<0>(1) != usize::MAX {}
    panic!("no more memory")
}
