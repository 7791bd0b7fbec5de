//! Publishes each message of a batch to the topic `out`, as it is.

use wasmpost_guest::{Failure, Message, batch};

batch!(receive);

fn receive(messages: Vec<Message>) -> Vec<Result<(), Failure>> {
    messages.into_iter().map(handle).collect()
}

fn handle(mut message: Message) -> Result<(), Failure> {
    let body = message.body();
    if body.is_empty() {
        return Err(Failure::reject("the body is empty"));
    }
    Ok(message.publish("out", &message.attributes(), body)?)
}
