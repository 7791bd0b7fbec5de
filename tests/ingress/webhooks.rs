//! Webhooks as their senders send them.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use wasmpost_tests::{Place, real_webhooks, wait_until_acked};

use crate::client::{post, receive, request};
use crate::{configure, start, stop};

const SECRET: &str = "It's a Secret to Everybody";

/// The signature of a text in hexadecimal.
fn signed(secret: &str, text: &str) -> String {
    let mut mac: Hmac<Sha256> = Mac::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    let mut hexadecimal = String::new();
    mac.finalize().into_bytes().iter().for_each(|byte| write!(hexadecimal, "{byte:02x}").unwrap());
    hexadecimal
}

/// Each event with its delivery and its body, real ones where they are.
fn events() -> Vec<(String, String, String)> {
    let Some(file) = real_webhooks() else {
        let made = |number| ("push".to_owned(), format!("made-{number}"), format!("{{\"ref\":{number}}}"));
        return (0..20).map(made).collect();
    };
    let event = |line: String| {
        let message: Value = serde_json::from_str(&line).unwrap();
        let one = |name: &str| message["attributes"][name][0].as_str().unwrap().to_owned();
        (one("X-Github-Event"), one("X-Github-Delivery"), message["body"].as_str().unwrap().to_owned())
    };
    BufReader::new(std::fs::File::open(file).unwrap()).lines().map(|line| event(line.unwrap())).collect()
}

#[test]
fn webhooks_of_github_are_taken_once_each_and_forged_ones_are_not() {
    let place = Place::default();
    place.write("secret", SECRET);
    let path = "signature = \"github\"\nsecret_file = \"secret\"\nheaders = [\"X-GitHub-*\"]";
    configure(&place, path, "");
    let (host, address) = start(&place);
    let events = events();
    // As a sender does that keeps its connection; a second time as one does that got no answer.
    for is_repeated in [false, true] {
        let mut stream = crate::client::connect(address);
        for (event, delivery, body) in &events {
            let signature = format!("sha256={}", signed(SECRET, body));
            let headers = [
                ("Content-Type", "application/json"),
                ("X-GitHub-Event", event.as_str()),
                ("X-GitHub-Delivery", delivery.as_str()),
                ("X-Hub-Signature-256", signature.as_str()),
            ];
            std::io::Write::write_all(&mut stream, request("POST", "/hooks", &headers, body).as_bytes()).unwrap();
            let answer = receive(&mut stream).unwrap();
            assert_eq!((answer.stored(), &answer.json()["duplicate"]), (delivery.clone(), &is_repeated.into()));
        }
    }
    let forged = format!("sha256={}", signed("another secret", "{}"));
    post(address, "/hooks", &[("X-Hub-Signature-256", &forged)], "{}").refuses(401, "same secret");
    post(address, "/hooks", &[], "{}").refuses(401, "x-hub-signature-256");
    wait_until_acked(&place, "hooks", events.len() as u64);
    stop(host);
}

/// Signs a body at a time: the headers that are sent with it.
type Sign = dyn Fn(u64, &str) -> Vec<(&'static str, String)>;

#[test]
fn an_old_request_of_stripe_or_slack_is_refused_and_a_new_one_taken() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let stripe = |time: u64, body: &str| {
        vec![("Stripe-Signature", format!("t={time},v1={}", signed(SECRET, &format!("{time}.{body}"))))]
    };
    let slack = |time: u64, body: &str| {
        let signature = format!("v0={}", signed(SECRET, &format!("v0:{time}:{body}")));
        vec![("X-Slack-Request-Timestamp", time.to_string()), ("X-Slack-Signature", signature)]
    };
    let methods: [(&str, &Sign); 2] = [("stripe", &stripe), ("slack", &slack)];
    for (method, sign) in methods {
        let place = Place::default();
        place.write("secret", format!("a new secret\n{SECRET}\n"));
        configure(&place, &format!("signature = \"{method}\"\nsecret_file = \"secret\""), "");
        let (host, address) = start(&place);
        let send_as = |time: u64, body: &str| {
            let headers = sign(time, body);
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            post(address, "/hooks", &headers, body)
        };
        let send = |time: u64| send_as(time, "{}");
        send(now).stored();
        send(now - 3600).refuses(401, "within 5 minutes");
        send(now + 3600).refuses(401, "within 5 minutes");
        // Slack tries an address before it sends anything there. To others that is a message.
        let tried = send_as(now, r#"{"token":"t","challenge":"3eZbrw1aB10","type":"url_verification"}"#);
        let status = tried.status;
        let challenge = tried.json()["challenge"].clone();
        let is_slack = method == "slack";
        assert_eq!((status, challenge == "3eZbrw1aB10"), if is_slack { (200, true) } else { (202, false) });
        wait_until_acked(&place, "hooks", if is_slack { 1 } else { 2 });
        stop(host);
    }
}
