//! Publishes a GiB in messages of `bytes` of its configuration, and shrugs at what is refused.

use hostile::{Failure, Message, topic};

hostile::guest!(receive);

fn receive(_: &Message) -> Result<(), Failure> {
    let body = vec![b'x'; hostile::configured_number("bytes") as usize];
    for _ in 0..(1 << 30) / body.len() {
        drop(topic::publish("seen", &[], &body));
    }
    Ok(())
}
