//! Tries to publish to what belongs to another tenant, by every name that could mean it, and tells which got through.

use hostile::{Failure, Message, topic};

hostile::guest!(receive);

fn receive(message: &Message) -> Result<(), Failure> {
    // The names that are tried are those of the message, one a line; a very long one is added.
    let names = String::from_utf8(message.body()).map_err(|_| Failure::Reject("names are no text".into()))?;
    let long = "x".repeat(100_000);
    let names: Vec<&str> = names.split('|').chain([long.as_str()]).collect();
    let through: Vec<_> = names.iter().filter(|name| is_published(name)).copied().collect();
    hostile::tell(&through.join("\n"))
}

fn is_published(name: &str) -> bool {
    let denied = |error: topic::PublishError| matches!(error, topic::PublishError::Denied(_));
    let at_once = topic::publish(name, &[], b"intruder");
    let with_writer = topic::new_writer(name).and_then(|writer| writer.close());
    // Whatever is not denied has got through, even if it failed later.
    !(at_once.is_err_and(denied) && with_writer.is_err_and(denied))
}
