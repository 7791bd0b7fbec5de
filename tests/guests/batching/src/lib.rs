//! Does with each message of a batch what its attribute `Do` asks for, and publishes the size of the batch with it.

use std::cell::RefCell;
use std::io::Write;

use wasmpost_guest::{Failure, Message, MessageWriter, batch, log, publish};

thread_local! {
    /// Kept for the next call, in which it is of no use any more.
    static WRITER: RefCell<Option<MessageWriter>> = const { RefCell::new(None) };
}

batch!(receive);

fn receive(messages: Vec<Message>) -> Vec<Result<(), Failure>> {
    let size = messages.len();
    log::info("batch", size);
    let mut results: Vec<_> = messages.iter().map(|message| obey(message, size)).collect();
    // A request of one of them concerns all of them.
    for message in &messages {
        match message.attribute("Do").as_deref() {
            Some("shorten") => drop(results.pop()),
            Some("lengthen") => results.push(Ok(())),
            Some("flood") => results.resize(1_000_000, Ok(())),
            _ => {}
        }
    }
    results
}

fn obey(message: &Message, size: usize) -> Result<(), Failure> {
    match message.attribute("Do").as_deref() {
        Some("fail") => {
            told(message, size, "too early")?;
            Err(Failure::retry("asked to fail"))
        }
        Some("reject") => Err(Failure::reject("asked to reject")),
        Some("trap") => panic!("asked to trap"),
        Some("loop") => loop {
            std::hint::black_box(());
        },
        // Which of them the message is does not matter: all of them fail together.
        Some("hoard") => hoard(),
        Some("topic") => publish("out", &[], "whose?").map_err(|refused| Failure::reject(refused.to_string())),
        Some("keep writer") => {
            WRITER.set(Some(message.new_writer("out")?));
            Ok(())
        }
        Some("close kept writer") => match WRITER.take() {
            Some(mut writer) => Ok(writer.close()?),
            None => Err(Failure::reject("nothing was kept")),
        },
        Some("write") => {
            let mut writer = message.new_writer("out")?;
            writer.set_attribute("Source", &message.id())?;
            writer.write_all(size.to_string().as_bytes())?;
            Ok(writer.close()?)
        }
        _ => told(message, size, &String::from_utf8_lossy(&text(message))),
    }
}

fn text(message: &Message) -> Vec<u8> {
    message.attribute("Text").unwrap_or_default().into_bytes()
}

fn told(message: &Message, size: usize, text: &str) -> Result<(), Failure> {
    let attributes = [("Source", message.id()), ("Size", size.to_string()), ("Attempt", message.attempt().to_string())];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), vec![value]));
    Ok(message.publish("out", &attributes, text)?)
}

/// Takes sixteen mebibytes for good.
fn hoard() -> Result<(), Failure> {
    std::hint::black_box(Vec::<u8>::with_capacity(16 << 20).leak());
    Ok(())
}
