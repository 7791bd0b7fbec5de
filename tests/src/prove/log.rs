//! The events in the log of a host, as JSON, about the messages of one queue.

use serde_json::Value;

/// One line about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, in milliseconds of one clock.
    pub at: u64,
    /// The id of the message.
    pub id: String,
    /// The event.
    pub what: What,
}

/// An event of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The guest began this attempt.
    Begin(u32),
    /// The guest came to its end.
    End(u32),
    /// The attempt failed, and the next was not to begin before so many milliseconds.
    Failed(u32, u64),
    /// The outcome of the attempt is stored.
    Acked,
    /// The attempt is over without another one to come by itself: the message is dead, or was given back.
    Over,
}

/// The lines of a log that are about messages. The last one may be torn.
pub fn events(log: &str) -> Vec<Event> {
    log.lines().filter_map(|line| event(&serde_json::from_str(line).ok()?)).collect()
}

fn event(line: &Value) -> Option<Event> {
    let text = |name: &str| line.get(name).and_then(Value::as_str);
    let id = text("id")?.to_owned();
    let message = text("message")?;
    let what = match (text("context"), message) {
        (Some("begin"), attempt) => What::Begin(attempt.parse().ok()?),
        (Some("end"), attempt) => What::End(attempt.parse().ok()?),
        (None, "failed; will be redelivered") => {
            let attempt = line.get("attempt").and_then(Value::as_u64)?;
            What::Failed(u32::try_from(attempt).ok()?, milliseconds(text("delay")?)?)
        }
        (None, "acked") => What::Acked,
        (None, "dead-lettered" | "given back uncounted") => What::Over,
        _ => return None,
    };
    Some(Event { at: time(text("timestamp")?)?, id, what })
}

/// A time of day such as `2026-01-31T12:30:00.123456Z`, in milliseconds since some midnight. Nothing here lasts days; what
/// crosses midnight is put right by whoever compares.
fn time(text: &str) -> Option<u64> {
    let clock = text.split_once('T')?.1.trim_end_matches('Z');
    let mut parts = clock.split(':');
    let hours: u64 = parts.next()?.parse().ok()?;
    let minutes: u64 = parts.next()?.parse().ok()?;
    let seconds: f64 = parts.next()?.parse().ok()?;
    Some((hours * 60 + minutes) * 60_000 + (seconds * 1000.0) as u64)
}

/// A duration as `{:?}` writes it, such as `1.5s`.
fn milliseconds(text: &str) -> Option<u64> {
    let unit = text.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
    let factor = match unit {
        "s" => 1000.0,
        "ms" => 1.0,
        "\u{b5}s" => 0.001,
        "ns" => 0.000_001,
        _ => return None,
    };
    Some((number * factor) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_about_messages_are_understood_and_others_left_out() {
        let log = r#"{"timestamp":"2026-01-31T12:30:00.250000Z","level":"INFO","message":"begin","receiver":"work"}
{"timestamp":"2026-01-31T00:00:01.250000Z","message":"2","receiver":"work","id":"a 1","context":"begin"}
{"timestamp":"2026-01-31T00:01:00.000999Z","message":"failed; will be redelivered","id":"a 1","attempt":2,"delay":"20.5ms"}
{"timestamp":"2026-01-31T00:01:01.000000Z","message":"acked","id":"a 1","attempt":3}
{"timestamp":"2026-01-31T00:01:0"#;
        let expected = [
            Event { at: 1250, id: "a 1".into(), what: What::Begin(2) },
            Event { at: 60_000, id: "a 1".into(), what: What::Failed(2, 20) },
            Event { at: 61_000, id: "a 1".into(), what: What::Acked },
        ];
        assert_eq!(events(log), expected);
    }
}
