//! Always asks for another delivery.

use wasmpost_guest::{Failure, Message, receiver};

receiver!(receive);

fn receive(message: Message) -> Result<(), Failure> {
    Err(Failure::retry(format!("attempt {} failed", message.attempt())))
}
