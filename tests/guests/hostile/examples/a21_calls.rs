//! Calls of the host with the longest lists, texts and bytes: once as `mode` of its configuration says, or all the time.

use hostile::wasi::clocks::monotonic_clock::subscribe_duration;
use hostile::wasi::io::poll::poll;
use hostile::wasi::logging::logging::{Level, log};
use hostile::{Failure, Message, topic};

hostile::guest!(receive);

/// As many as may be passed at a time.
const VALUES: usize = 200_000;

fn receive(_: &Message) -> Result<(), Failure> {
    match hostile::configured("mode").as_deref() {
        Some(mode) => Err(Failure::Reject(attack(mode))),
        None => {
            let values = [("A".to_owned(), vec![String::new(); VALUES])];
            loop {
                std::hint::black_box(topic::publish("seen", &values, b"").is_ok());
            }
        }
    }
}

/// Tries one thing, and tells what came of it.
fn attack(mode: &str) -> String {
    let long = || "x".repeat(2 << 20);
    let published = |attributes: &[(String, Vec<String>)]| match topic::publish("seen", attributes, b"x") {
        Ok(()) => "published".to_owned(),
        Err(error) => format!("{error:?}"),
    };
    let one = |name: String, value: String| published(&[(name, vec![value])]);
    match mode {
        "values" => published(&[("A".to_owned(), vec![String::new(); VALUES])]),
        "names" => published(&vec![("A".to_owned(), vec![]); VALUES / 4]),
        "fuel" => published(&[("A".to_owned(), vec![String::new(); 5 * VALUES])]),
        "writer" => filled(),
        "long-value" => one("A".to_owned(), long()),
        "long-name" => one(long(), String::new()),
        "key" => one("ordering-key".to_owned(), "x".repeat(600)),
        "tab" => one("Ordering-Key".to_owned(), "a\tb".to_owned()),
        "topic" => match topic::new_writer(&"\u{1}".repeat(1 << 20)) {
            Err(topic::PublishError::Denied(text)) if text.len() < 1000 => "told in short".to_owned(),
            _ => "granted, or told at length".to_owned(),
        },
        "delay" => {
            let Ok(writer) = topic::new_writer("seen") else { return "no writer".to_owned() };
            writer.set_delay(u64::MAX);
            format!("{:?}", writer.close().err())
        }
        "poll" => {
            let pollable = subscribe_duration(0);
            format!("{} are ready", poll(&vec![&pollable; VALUES / 2]).len())
        }
        "config" => format!("{:?}", hostile::configured(&long())),
        "log" => {
            (0..100).for_each(|_| log(Level::Info, &long(), &long()));
            "logged".to_owned()
        }
        "lines" => {
            let stdout = hostile::wasi::cli::stdout::get_stdout();
            let lines = "\n".repeat(64 << 10);
            let written = (0..100).try_for_each(|_| stdout.write(lines.as_bytes()));
            format!("{written:?}")
        }
        other => format!("{other} is no mode"),
    }
}

/// Appends values to one attribute until there are enough.
fn filled() -> String {
    let Ok(writer) = topic::new_writer("seen") else { return "no writer".to_owned() };
    let refused = (0..VALUES).find_map(|number| Some((number, writer.append_attribute("A", "").err()?)));
    format!("{refused:?}")
}
