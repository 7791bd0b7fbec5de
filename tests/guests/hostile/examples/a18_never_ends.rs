//! Runs until the process is gone.

use hostile::{Failure, Message};

hostile::guest!(receive);

fn receive(_: &Message) -> Result<(), Failure> {
    loop {
        std::hint::black_box(());
    }
}
