//! Asks for topics that nobody granted, without end; their names have `bytes` of its configuration.

use hostile::{Failure, Message, topic};

hostile::guest!(receive);

fn receive(_: &Message) -> Result<(), Failure> {
    // The sign is longer where it is shown.
    let long = "\u{1}".repeat(hostile::configured_number("bytes") as usize);
    for number in 0_u64.. {
        std::hint::black_box(topic::new_writer(&format!("denied {number} {long}")).is_err());
    }
    Ok(())
}
