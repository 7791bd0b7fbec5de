//! Receives several messages at a time. The first word of a body says what becomes of its message.

use std::sync::atomic::{AtomicUsize, Ordering};

use exports::wasmpost::messaging::receiver_async::{Failure, Guest, Message};
use wasi::logging::logging::{Level, log};
use wit_bindgen::{StreamReader, StreamResult, yield_async};

wit_bindgen::generate!({ path: "../../../wit/async", world: "wasmpost:messaging/plugin-async", generate_all });

struct Together;

export!(Together);

/// How many messages this instance is at work on, and how many it began with.
static IN_FLIGHT: AtomicUsize = AtomicUsize::new(0);
static BEGUN: AtomicUsize = AtomicUsize::new(0);
/// How many have met.
static MET: AtomicUsize = AtomicUsize::new(0);

/// The most bytes of one read.
const CHUNK_BYTES: usize = 16 << 10;

impl Guest for Together {
    async fn receive(message: &Message, mut body: StreamReader<u8>) -> Result<(), Failure> {
        IN_FLIGHT.fetch_add(1, Ordering::Relaxed);
        BEGUN.fetch_add(1, Ordering::Relaxed);
        let done = process(message, &mut body).await;
        IN_FLIGHT.fetch_sub(1, Ordering::Relaxed);
        done
    }
}

async fn process(message: &Message, body: &mut StreamReader<u8>) -> Result<(), Failure> {
    // The name of a message that does not want its body read says so.
    if message.id().starts_with("unread") {
        return publish(message, "unread");
    }
    let body = read(body).await;
    let (word, number) = match std::str::from_utf8(&body).ok().and_then(|text| text.split_once(' ')) {
        Some((word, number)) => (word.as_bytes(), number.parse().unwrap_or(0)),
        None => (&*body, 0),
    };
    match word {
        // Waits until so many messages are at work in this instance.
        b"meet" => {
            while IN_FLIGHT.load(Ordering::Relaxed) < number && MET.load(Ordering::Relaxed) == 0 {
                yield_async().await;
            }
            MET.fetch_add(1, Ordering::Relaxed);
            publish(message, &IN_FLIGHT.load(Ordering::Relaxed).to_string())
        }
        b"begun" => publish(message, &BEGUN.load(Ordering::Relaxed).to_string()),
        // Lets others begin, and tells how many are at work at the most.
        b"yield" => {
            let mut most = 0;
            for _ in 0..number {
                yield_async().await;
                most = most.max(IN_FLIGHT.load(Ordering::Relaxed));
            }
            publish(message, &most.to_string())
        }
        b"retry" => Err(Failure::Retry("not now".into())),
        b"later" => Err(Failure::RetryAfter((3_000_000_000, "in a while".into()))),
        b"reject" => Err(Failure::Reject("never".into())),
        b"publish-and-retry" => publish(message, "lost").and(Err(Failure::Retry("not now".into()))),
        b"trap" | b"loop" | b"grow" | b"wait" | b"yield-forever" => {
            // Once so many are at work.
            while IN_FLIGHT.load(Ordering::Relaxed) < number {
                yield_async().await;
            }
            misbehave(word).await
        }
        b"log" => {
            yield_async().await;
            log(Level::Info, "together", &message.id());
            publish(message, "logged")
        }
        b"flood" => {
            for _ in 0..number {
                publish(message, "one of many")?;
            }
            Ok(())
        }
        b"deny" => {
            let granted = (0..number).filter(|_| message.new_writer("denied").is_ok()).count();
            publish(message, &format!("{granted} were granted"))
        }
        b"write" => write(message).map_err(|error| Failure::Retry(format!("{error:?}"))),
        _ => publish_body(message, &body),
    }
}

/// Does what never ends well.
async fn misbehave(word: &[u8]) -> ! {
    match word {
        b"loop" => loop {
            std::hint::spin_loop();
        },
        b"yield-forever" => loop {
            yield_async().await;
        },
        b"grow" => {
            let mut all = Vec::new();
            loop {
                all.push(std::hint::black_box(vec![1_u8; 1 << 20]));
            }
        }
        // Waits for what nobody writes.
        b"wait" => {
            let (_writer, mut reader) = wit_stream::new::<u8>();
            let (read, _) = reader.read(Vec::with_capacity(1)).await;
            panic!("nobody wrote: {read:?}")
        }
        _ => panic!("poison message"),
    }
}

/// All of the body, in chunks.
async fn read(body: &mut StreamReader<u8>) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let (read, chunk) = body.read(Vec::with_capacity(CHUNK_BYTES)).await;
        all.extend_from_slice(&chunk);
        if matches!(read, StreamResult::Dropped | StreamResult::Cancelled) {
            return all;
        }
    }
}

fn publish(message: &Message, text: &str) -> Result<(), Failure> {
    publish_body(message, text.as_bytes())
}

fn publish_body(message: &Message, body: &[u8]) -> Result<(), Failure> {
    let published = message.publish("out", &message.attributes(), body);
    published.map_err(|error| Failure::Retry(format!("not published: {error:?}")))
}

fn write(message: &Message) -> Result<(), wasmpost::messaging::types_async::PublishError> {
    let writer = message.new_writer("out")?;
    writer.set_attribute("Attempt", &message.attempt().to_string())?;
    writer.append_attribute("First", &message.attribute("Colour").unwrap_or_default())?;
    writer.write(b"in ")?;
    writer.write(b"pieces")?;
    writer.set_delay(2_000_000_000);
    writer.close()?;
    writer.close().expect_err("closed already");
    Ok(())
}
