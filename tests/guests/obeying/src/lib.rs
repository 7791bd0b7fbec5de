//! Does with each message what its attributes ask for, and tells in the log when it begins and ends.

use std::io::Write;

use wasmpost_guest::{Failure, Message, MessageWriter, OrFail, PublishError, config, log, publish, receiver};

receiver!(receive);

fn receive(mut message: Message) -> Result<(), Failure> {
    let attempt = message.attempt();
    log::info("begin", attempt);
    for spin in 0..number(&message, "Spins")? {
        std::hint::black_box::<u64>(spin);
    }
    let done = obey(&mut message, attempt);
    log::info("end", attempt);
    done
}

fn obey(message: &mut Message, attempt: u32) -> Result<(), Failure> {
    match message.attribute("Do").as_deref() {
        Some("fail") if u64::from(attempt) <= number(message, "Fails")? => {
            // Nobody is to see it.
            copy(message, "too early", attempt, &[])?;
            Err(Failure::retry("asked to fail"))
        }
        // Each time, or until it has done so as often as asked, after which the message is rejected.
        Some("trap") if number(message, "Fails")? == 0 || u64::from(attempt) <= number(message, "Fails")? => {
            copy(message, "trapped", attempt, &[])?;
            panic!("asked to trap")
        }
        Some("reject" | "trap") => {
            copy(message, "rejected", attempt, &[])?;
            Err(Failure::reject("asked to reject"))
        }
        Some("loop") => loop {
            std::hint::black_box(());
        },
        Some("quiet") => Ok(()),
        Some("writers") => Ok(writers(message, attempt)?),
        _ => copies(message, attempt),
    }
}

fn copies(message: &mut Message, attempt: u32) -> Result<(), Failure> {
    let body = message.body();
    for number in 0..number(message, "Copies")?.max(1) {
        copy(message, &number.to_string(), attempt, &body)?;
    }
    Ok(())
}

/// Drops one message while it is written, and closes another in which nothing was written.
fn writers(message: &Message, attempt: u32) -> Result<(), PublishError> {
    let mut dropped = MessageWriter::new(&to())?;
    mark(&mut dropped, message, "dropped", attempt)?;
    let _ = dropped.write(b"never to be seen");
    drop(dropped);
    let mut empty = MessageWriter::new(&to())?;
    mark(&mut empty, message, "0", attempt)?;
    empty.close()
}

fn mark(writer: &mut MessageWriter, message: &Message, number: &str, attempt: u32) -> Result<(), PublishError> {
    writer.set_attribute("Source", &message.id())?;
    writer.set_attribute("Number", number)?;
    writer.set_attribute("Attempt", &attempt.to_string())
}

fn copy(message: &Message, number: &str, attempt: u32, body: &[u8]) -> Result<(), PublishError> {
    let mut attributes = message.attributes();
    for (name, value) in [("Source", message.id()), ("Number", number.to_owned()), ("Attempt", attempt.to_string())] {
        attributes.push((name.to_owned(), vec![value]));
    }
    publish(&to(), &attributes, body)
}

fn to() -> String {
    config("to").ok().flatten().unwrap_or_else(|| "out".into())
}

fn number(message: &Message, name: &str) -> Result<u64, Failure> {
    message.attribute(name).map_or(Ok(0), |text| text.parse()).or_reject()
}
