//! Publishes each message to the topic `out`, as it is.

use wasmpost_guest::{Failure, Message, publish, receiver};

receiver!(echo);

fn echo(mut message: Message) -> Result<(), Failure> {
    let body = message.body();
    if body.is_empty() {
        return Err(Failure::reject("the body is empty"));
    }
    publish("out", &message.attributes(), body)?;
    Ok(())
}
