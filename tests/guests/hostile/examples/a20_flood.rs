//! Does nothing: there are just very many messages for it.

use hostile::{Failure, Message};

hostile::guest!(receive);

fn receive(_: &Message) -> Result<(), Failure> {
    Ok(())
}
