//! Publishes ten thousand messages, whatever the host answers, and fails if one was refused.

use hostile::{Failure, Message, topic};

hostile::guest!(receive);

fn receive(_: &Message) -> Result<(), Failure> {
    let refused = (0..10_000).filter(|_| topic::publish("seen", &[], b"x").is_err()).count();
    if refused == 0 { Ok(()) } else { Err(Failure::Retry(format!("{refused} were refused"))) }
}
