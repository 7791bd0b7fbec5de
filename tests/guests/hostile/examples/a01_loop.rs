//! Never returns.

use hostile::{Failure, Message};

hostile::guest!(receive);

fn receive(_: &Message) -> Result<(), Failure> {
    loop {
        std::hint::black_box(());
    }
}
