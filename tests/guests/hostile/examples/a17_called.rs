//! Tells that it was called, which it should not have been.

use hostile::{Failure, Message};

hostile::guest!(receive);

fn receive(message: &Message) -> Result<(), Failure> {
    hostile::tell(&format!("called with {} bytes", message.body().len()))
}
