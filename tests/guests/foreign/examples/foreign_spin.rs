//! A component for the Redis trigger of Spin: it can only succeed or fail.

use exports::fermyon::spin::inbound_redis::{Error, Guest};
use foreign::{Wish, wish};

wit_bindgen::generate!({
    path: "../../../host/crates/sandbox/wit/spin",
    world: "fermyon:spin/redis-trigger",
    generate_all,
});

struct Trigger;

export!(Trigger);

impl Guest for Trigger {
    fn handle_message(message: Vec<u8>) -> Result<(), Error> {
        match wish(&message) {
            Wish::Echo => Ok(()),
            Wish::Retry | Wish::Reject => Err(Error::Error),
        }
    }
}
