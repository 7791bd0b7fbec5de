//! Opens writers and never drops them.

use hostile::{Failure, Message, topic};

hostile::guest!(receive);

fn receive(_: &Message) -> Result<(), Failure> {
    loop {
        std::mem::forget(topic::new_writer("seen").map_err(|error| Failure::Reject(format!("{error:?}")))?);
    }
}
