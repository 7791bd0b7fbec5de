//! Publishes each message again, to the topic `to` of its configuration.

use hostile::{Failure, Message, topic};

hostile::guest!(receive);

fn receive(message: &Message) -> Result<(), Failure> {
    let to = hostile::configured("to").unwrap_or_default();
    topic::publish(&to, &message.attributes(), &message.body()).map_err(|error| Failure::Reject(format!("{error:?}")))
}
