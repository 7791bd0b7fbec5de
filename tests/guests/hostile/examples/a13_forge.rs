//! Tries attributes that belong to the host, break headers or are too many, and tells which error each got.

use hostile::topic::PublishError;
use hostile::{Failure, Message, topic};

hostile::guest!(receive);

/// Attributes that must be refused, alone and among others.
const FORGED: &[(&str, &str)] = &[
    ("Wasmpost-Hops", "0"),
    ("wasmpost-id", "forged"),
    ("WASMPOST-ATTEMPT", "1"),
    ("Wasmpost-", "x"),
    ("a\r\nb", "x"),
    ("a\0", "x"),
    ("a: b", "x"),
    ("", "x"),
    ("\u{430}", "x"),
    ("a", "x\r\nForged: yes"),
    ("a", "x\nForged: yes"),
    ("a", "x\0"),
];

fn receive(_: &Message) -> Result<(), Failure> {
    let mut told: Vec<String> = FORGED.iter().map(|(name, value)| tried(&[(*name, *value)])).collect();
    let many: Vec<_> = (0..10_000).map(|number| (format!("n{number}"), "x")).collect();
    told.push(tried(&many.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>()));
    told.push(tried(&[("n", &*"x".repeat(1 << 20))]));
    told.push(tried(&[(&*"n".repeat(1 << 20), "x")]));
    told.push(tried(&[("n", &*"x".repeat(4096)); 100]));
    hostile::tell(&told.join("\n"))
}

/// The errors of both ways to set attributes; the same, if all is well.
fn tried(pairs: &[(&str, &str)]) -> String {
    let list: Vec<_> = pairs.iter().map(|(name, value)| (name.to_string(), vec![value.to_string()])).collect();
    let at_once = topic::publish("seen", &list, b"forged");
    let one_by_one = topic::new_writer("seen").and_then(|writer| {
        pairs.iter().try_for_each(|(name, value)| writer.append_attribute(name, value))?;
        writer.close()
    });
    format!("{} {}", word(&at_once), word(&one_by_one))
}

fn word(published: &Result<(), PublishError>) -> &'static str {
    match published {
        Ok(()) => "published",
        Err(PublishError::InvalidAttribute(_)) => "invalid-attribute",
        Err(_) => "another error",
    }
}
