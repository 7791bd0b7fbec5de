//! Never returns, but calls the host all the time.

use hostile::{Failure, Message};

hostile::guest!(receive);

fn receive(message: &Message) -> Result<(), Failure> {
    loop {
        std::hint::black_box(message.attempt());
    }
}
