//! Parts that several screens have.

use std::time::Duration;

use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use wasmpost_delivery::Timestamp;
use wasmpost_sandbox::Size;

/// The longest text of an error in a table, in characters.
const SHORT_MAX: usize = 200;

/// A text as it is written in a part of a URL.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A link to the screen of a queue.
pub(super) fn queue_link(queue: &str, broker: &str) -> Markup {
    let to = format!("#/queues/{}?broker={}", encoded(queue), encoded(broker));
    html! { a href=(to) { (queue) } }
}

/// A link to the screen of a receiver.
pub(super) fn receiver_link(receiver: &str) -> Markup {
    html! { a href=(format!("#/receivers/{}", encoded(receiver))) { (receiver) } }
}

/// A number of milliseconds as people read it.
pub(super) fn age(milliseconds: u64) -> String {
    match milliseconds {
        ..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 => format!("{:.1} s", milliseconds as f64 / 1000.0),
        _ => humantime::format_duration(Duration::from_secs(milliseconds / 1000)).to_string(),
    }
}

/// A number of microseconds as people read it.
pub(super) fn micros(microseconds: u64) -> String {
    match microseconds {
        ..1_000 => format!("{microseconds} µs"),
        1_000..1_000_000 => format!("{:.1} ms", microseconds as f64 / 1000.0),
        _ => age(microseconds / 1000),
    }
}

pub(super) fn size(bytes: u64) -> String {
    Size(bytes).to_string()
}

/// A time as machines and people read it, in UTC.
pub(super) fn time(milliseconds: u64) -> Markup {
    let text = humantime::format_rfc3339_millis(Timestamp(milliseconds).into()).to_string();
    html! { time datetime=(text) { (text) } }
}

/// The beginning of a text.
pub(super) fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(SHORT_MAX).collect()
}

/// A cell with a number.
pub(super) fn number(value: impl std::fmt::Display) -> Markup {
    html! { td.number { (value.to_string()) } }
}

/// A button that sends JSON once it was confirmed.
pub(super) struct Button<'a> {
    pub(super) label: &'a str,
    pub(super) to: &'a str,
    pub(super) method: &'a str,
    pub(super) body: Option<serde_json::Value>,
    /// The question before it is sent.
    pub(super) ask: &'a str,
    /// The name that has to be typed to confirm it.
    pub(super) name: Option<&'a str>,
    /// Where to ask how many things it is about.
    pub(super) count: Option<String>,
    /// Whether it is about the letters that are selected.
    pub(super) of_selected: bool,
    /// The screen to go to afterwards.
    pub(super) then: Option<&'a str>,
}

impl Default for Button<'_> {
    fn default() -> Self {
        Self {
            label: "",
            to: "",
            method: "POST",
            body: None,
            ask: "",
            name: None,
            count: None,
            of_selected: false,
            then: None,
        }
    }
}

impl Button<'_> {
    pub(super) fn shown(&self) -> Markup {
        let body = self.body.as_ref().map(ToString::to_string);
        let selected = self.of_selected.then_some("");
        html! {
            button type="button" class=[self.name.map(|_| "danger")] data-to=(self.to) data-method=(self.method)
                data-body=[body] data-ask=(self.ask) data-name=[self.name] data-count=[&self.count]
                data-selected=[selected] data-then=[self.then] { (self.label) }
        }
    }
}
