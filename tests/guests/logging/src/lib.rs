//! Writes a line at each level, and one with characters that a terminal could obey.

use exports::wasmpost::messaging::receiver::{Failure, Guest, Message};
use wasi::logging::logging::{self, Level};

wit_bindgen::generate!({ path: "../../../wit", world: "wasmpost:messaging/plugin", generate_all });

struct Logging;

export!(Logging);

impl Guest for Logging {
    fn receive(message: &Message) -> Result<(), Failure> {
        for level in [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Critical] {
            logging::log(level, "levels", &format!("{level:?} {}", message.id()));
        }
        logging::log(Level::Warn, "escape", "red \u{1b}[31m and a\nsecond line");
        Ok(())
    }
}
