//! Uses what the crate for guests offers, as the attribute `Do` of its message says.

use std::io::{BufRead, Write};
use std::time::Duration;

use wasmpost_guest::{Failure, Message, MessageWriter, OrFail, config, log, publish, receiver};

receiver!(receive);

fn receive(message: Message) -> Result<(), Failure> {
    match message.attribute("Do").as_deref() {
        Some("copy") => copy(message),
        Some("pieces") => pieces(message),
        Some("leave") => leave(),
        Some("close twice") => close_twice(),
        Some("pass on") => Err(number("x").unwrap_err().into()),
        Some("reject") => number("x").or_reject().map(drop),
        Some("put off") => number("x").or_retry_after(Duration::from_secs(7)).map(drop),
        Some("publish") => Ok(publish("ungranted", &[], "text")?),
        Some("write") => tell(&format!("{:?}", config("key")?)),
        Some("log") => log_all(),
        Some("panic") => panic!("dropped the {}", "ball"),
        other => Err(Failure::reject(format!("cannot {other:?}"))),
    }
}

fn number(text: &str) -> Result<u32, std::num::ParseIntError> {
    text.parse()
}

/// Publishes the body, read and written as files are, later and with attributes.
fn copy(mut message: Message) -> Result<(), Failure> {
    let mut writer = MessageWriter::new("out")?;
    writer.set_delay(Duration::from_millis(1500));
    writer.set_attribute("Id", "replaced")?;
    writer.set_attribute("Id", &format!("{} {}", message.id(), message.attempt()))?;
    writer.append_attribute("Id", "blå")?;
    std::io::copy(&mut message, &mut writer)?;
    Ok(writer.close()?)
}

/// Reads a line, and the rest in one piece.
fn pieces(mut message: Message) -> Result<(), Failure> {
    let mut line = String::new();
    message.read_line(&mut line)?;
    let rest = message.body();
    let again = message.body();
    let mut nothing = String::new();
    message.read_line(&mut nothing)?;
    tell(&format!("{} {} {} {}", line.trim(), rest.len(), again.len(), nothing.len()))
}

/// Publishes nothing, for its writer is not closed.
fn leave() -> Result<(), Failure> {
    Ok(MessageWriter::new("out")?.write_all(b"lost")?)
}

/// Tells how a writer answers that was closed.
fn close_twice() -> Result<(), Failure> {
    let mut writer = MessageWriter::new("out")?;
    writer.close()?;
    let written = writer.write_all(b"more").unwrap_err();
    Err(Failure::reject(format!("{:?}; {written}", writer.close())))
}

fn tell(text: &str) -> Result<(), Failure> {
    Ok(publish("out", &[], text)?)
}

fn log_all() -> Result<(), Failure> {
    log::trace("levels", 1);
    log::debug("levels", 2);
    log::info("levels", 3);
    log::warn("levels", 4);
    log::error("levels", 5);
    log::critical("levels", format_args!("{}", 6));
    Ok(())
}
