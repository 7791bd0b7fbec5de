//! Publishes `messages` of `bytes` each, as its configuration says, and shrugs at what is refused.

use hostile::{Failure, Message, topic};

hostile::guest!(receive);

fn receive(_: &Message) -> Result<(), Failure> {
    let body = vec![b'x'; hostile::configured_number("bytes") as usize];
    for _ in 0..hostile::configured_number("messages") {
        drop(topic::publish("seen", &[], &body));
    }
    Ok(())
}
