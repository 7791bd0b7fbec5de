//! Texts that attack whoever looks at them, in every place where a guest, a publisher or a tenant chooses one.

use std::sync::Arc;

use wasmpost_delivery::{Attempt, AttemptVerdict, Evidence, Timestamp};
use wasmpost_msg::{Attributes, Publication, Reason};
use wasmpost_sandbox::{Level, LogRecord, LogSink, LogSource, TracingSink};

use super::scene::{Stage, receiver};

const ATTACKS: [&str; 6] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'><svg/onload=alert(1)>",
    "</title></textarea></pre><iframe src=javascript:alert(1)>",
    "javascript:alert(1)",
    "\u{202e}{{7*7}}${7*7}<!--",
];

/// The elements that screens have of their own.
const ELEMENTS: &[&str] = &[
    "a", "br", "button", "code", "dd", "details", "div", "dl", "dt", "form", "h1", "h2", "input", "label", "li", "ol",
    "option", "p", "pre", "select", "span", "strong", "summary", "table", "tbody", "td", "textarea", "th", "thead",
    "time", "tr", "ul",
];

/// The tags in a text of HTML whose attributes are all quoted.
fn tags(html: &str) -> Vec<String> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        rest = rest.split_at(start + 1).1;
        let mut is_quoted = false;
        let end = rest.find(|letter| {
            is_quoted ^= letter == '"';
            letter == '>' && !is_quoted
        });
        let end = end.unwrap();
        tags.push(rest.split_at(end).0.to_owned());
        rest = rest.split_at(end + 1).1;
    }
    tags
}

fn check(path: &str, html: &str) {
    for tag in tags(html) {
        let name = tag.trim_start_matches('/').split([' ', '>']).next().unwrap();
        assert!(ELEMENTS.contains(&name), "{path}: <{tag}>");
        let names = tag.split('"').step_by(2).flat_map(|part| part.split([' ', '='])).filter(|name| !name.is_empty());
        for attribute in names.skip(1) {
            assert!(!attribute.starts_with("on") && attribute != "style" && attribute != "src", "{path}: <{tag}>");
        }
        for link in tag.split("href=\"").skip(1) {
            assert!(link.starts_with("#/"), "{path}: <{tag}>");
        }
    }
}

/// A message whose every part attacks, and the evidence of its death.
fn attack(text: &str) -> (Publication, Evidence) {
    let mut attributes = Attributes::new();
    attributes.append("X-Attack", text);
    let message = Publication {
        id: Some(text.replace(' ', "_")),
        key: Some(text.into()),
        ..Publication::new("orders", attributes, text.to_owned())
    };
    let attempt = Attempt {
        number: 1,
        started_at: Timestamp(1),
        duration: std::time::Duration::ZERO,
        verdict: AttemptVerdict::Reject,
        delay: None,
        reason: Reason::Rejected,
        error: text.into(),
    };
    let evidence = Evidence {
        backtrace: Some(text.into()),
        receiver: Some(text.into()),
        component: Some(text.into()),
        component_version: Some(text.into()),
        attempt: Some(attempt),
        ..Evidence::by_host(Reason::Rejected, text)
    };
    (message, evidence)
}

#[tokio::test]
async fn texts_of_guests_publishers_and_tenants_are_texts_on_every_screen() {
    let receivers = ATTACKS.iter().map(|text| receiver(text, text, None)).chain([receiver("orders", "orders", None)]);
    let stage = Stage::new(receivers.collect());
    for text in ATTACKS {
        let (message, evidence) = attack(text);
        stage.bury(message, evidence).await;
        let sink = stage.logs.keeping(text, Arc::new(TracingSink));
        sink.record(&LogRecord {
            receiver: text,
            message_id: text,
            level: Level::Info,
            source: LogSource::Logging,
            context: text,
            text,
        });
    }
    let encoded =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let mut paths: Vec<String> =
        ["overview", "dead-letters", "dead-letter-groups", "receivers", "tenants", "tasks", "queues/orders"]
            .map(|path| format!("/page/{path}"))
            .into();
    let (_, letters) = stage.get("/v1/dead-letters", "admin").await;
    let ids = letters["letters"].as_array().unwrap().iter().map(|letter| letter["id"].as_str().unwrap());
    paths.extend(ids.map(|id| format!("/page/dead-letters/{}", encoded(id))));
    for text in ATTACKS {
        paths.push(format!("/page/receivers/{}", encoded(text)));
        paths.push(format!("/page/dead-letters?queue={}", encoded(text)));
        // The audit names the thing.
        stage.post("/v1/dead-letters/redrive", "operate", serde_json::json!({ "ids": [text], "queue": text })).await;
    }
    assert_eq!(paths.len(), 7 + 3 * ATTACKS.len());
    for path in paths {
        let (status, html) = stage.ask("GET", &path, "admin", None).await;
        assert_eq!(status, 200, "{path}: {html}");
        check(&path, &html);
    }
    let (_, letter) = stage.ask("GET", &format!("/page/dead-letters/{}", encoded(ATTACKS[0])), "admin", None).await;
    assert!(letter.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "the text itself is shown: {letter}");
}

#[test]
fn a_tag_that_an_attack_makes_is_found() {
    for text in ATTACKS.iter().filter(|text| text.contains('<') && text.contains('>')) {
        let html = format!("<p>{text}</p>");
        assert!(std::panic::catch_unwind(|| check("here", &html)).is_err(), "{text}");
    }
}
