//! Fails with a text that terminals and browsers would obey.

use hostile::{Failure, Message};

hostile::guest!(receive);

fn receive(_: &Message) -> Result<(), Failure> {
    let text =
        "\u{1b}[31m\u{1b}]0;owned\u{7}\u{9b}2J\u{8}\u{202e}<script>alert(1)</script>\r\nforged line\u{2028}\0end";
    Err(Failure::Reject(text.into()))
}
