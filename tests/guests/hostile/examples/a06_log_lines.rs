//! Logs as many lines as `lines` of its configuration says, each with what would clear a terminal.

use hostile::wasi::logging::logging::{Level, log};
use hostile::{Failure, Message};

hostile::guest!(receive);

fn receive(_: &Message) -> Result<(), Failure> {
    for number in 0..hostile::configured_number("lines") {
        log(Level::Critical, "\u{1b}[2J", &format!("\u{1b}[31m{number}\r\nforged\n"));
    }
    Ok(())
}
