//! The admin listener of a running host, from outside.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

mod client;
mod metrics;
mod table;

use std::io::{Read, Write};
use std::net::TcpStream;

use client::{Admin, ask};
use serde_json::json;
use wasmpost_tests::certificates::Authority;
use wasmpost_tests::{Place, guest, wait_until};

/// A receiver of the queue `orders`.
fn configure(place: &Place, component: &str, more: &str) {
    let component = guest(component).display().to_string();
    place.write("wasmpost.toml", format!("{more}\n[[receivers]]\nqueue = \"orders\"\ncomponent = \"{component}\"\n"));
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn publish(place: &Place, count: usize) {
    let lines: String = (0..count).map(|number| format!("{{\"body\":\"{number}\"}}\n")).collect();
    place.run_with(&["publish", "orders", "--ndjson", "-"], &lines).exits(0);
}

#[test]
fn a_dead_letter_is_seen_redriven_and_purged_by_http() {
    let place = Place::default();
    configure(&place, "rejecting", "");
    let host = Admin::start(&place, &[]).until_ready();
    assert_eq!(host.post("/v1/messages", &json!({ "topic": "orders", "body": "one", "id": "first" })).status, 201);
    let again = host.post("/v1/messages", &json!({ "topic": "orders", "body": "one", "id": "first" }));
    assert_eq!((again.status, &again.json()["duplicate"]), (200, &json!(true)));
    let dead = |count: u64| {
        wait_until("the message died", || host.get("/v1/queues/orders").json()["dead"] == count);
    };
    dead(1);
    let letter = host.get("/v1/dead-letters/first").json();
    assert_eq!((&letter["reason"], &letter["error"]), (&json!("rejected"), &json!("not for me")), "{letter}");
    let page = host.get("/page/dead-letters/first").body;
    assert!(page.contains("not for me") && !page.contains(">one<"), "{page}");
    let task = host.post("/v1/dead-letters/redrive", &json!({ "ids": ["first"] }));
    assert_eq!(task.status, 202, "{task:?}");
    let ended = |id: &serde_json::Value| {
        let path = format!("/v1/tasks/{}", id.as_str().unwrap());
        wait_until("the task ended", || host.get(&path).json()["state"] != "running");
        host.get(&path).json()
    };
    assert_eq!(ended(&task.json()["id"])["count"], 1);
    // It was delivered again, and died again.
    wait_until("it died again", || host.get("/v1/dead-letters/first").json()["deliveries"] == 2);
    let task = host.post("/v1/dead-letters/purge", &json!({ "queue": "orders", "confirm": "orders" })).json();
    assert_eq!(ended(&task["id"])["state"], "done");
    dead(0);
    let token = host.token.clone();
    let (code, log) = host.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains(&token), "the token is in no log: {log}");
}

#[test]
fn the_last_lines_of_a_component_are_kept_and_follow() {
    let place = Place::default();
    configure(&place, "logging", "");
    let host = Admin::start(&place, &[]).until_ready();
    publish(&place, 1);
    let lines = || host.get("/v1/receivers/orders/logs").json()["lines"].as_array().unwrap().clone();
    wait_until("all lines are there", || lines().len() >= 7);
    assert_eq!(
        (&lines()[0]["level"], &lines()[6]["text"]),
        (&json!("trace"), &json!("red \u{1b}[31m and a\nsecond line"))
    );
    let shown = place.run(&["logs", "orders"]).exits(0).stdout();
    assert!(shown.contains("warn     logging ") && shown.contains("levels: Level::Info "), "{shown}");
    assert!(!shown.contains('\u{1b}') && shown.contains("red \\u{1b}[31m"), "{shown}");
    assert_eq!(place.run(&["logs", "orders", "--max", "2", "--json"]).exits(0).stdout().lines().count(), 2);
    place.run(&["logs", "other"]).fails(1, &["no receiver \"other\""]);
    // A stream begins with what is kept, and goes on with what comes.
    let mut stream = TcpStream::connect(&host.address).unwrap();
    let token = &host.token;
    let request =
        format!("GET /v1/receivers/orders/logs/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut read = String::new();
    let mut until = |count: usize| {
        let mut buffer = [0; 4096];
        while read.matches("\"number\":").count() < count {
            let length = stream.read(&mut buffer).unwrap();
            assert!(length > 0, "{read}");
            read.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
    };
    until(7);
    publish(&place, 1);
    until(14);
    assert_eq!(host.end().0, Some(0), "a stream keeps no host from ending");
}

#[test]
fn other_machines_are_let_in_by_token_and_tls_alone() {
    let place = Place::default();
    let port = free_port();
    let table = |rest: &str| format!("[admin]\nlisten = \"0.0.0.0:{port}\"\n{rest}");
    let made = place.run(&["token", "--json"]).exits(0).json();
    let token = made["token"].as_str().unwrap();
    let hash = made["hash"].as_str().unwrap();
    let known = format!("[admin.tokens.me]\nrole = \"read\"\nhash = \"{hash}\"\n");
    for (rest, word) in [("", "token"), (&*known, "TLS")] {
        configure(&place, "noop", &table(rest));
        place.run(&["check"]).fails(2, &["wasmpost.toml:2:10", word]);
        place.run(&["run", "--until-empty"]).fails(2, &[word]);
    }
    let authority = Authority::new();
    let certified = authority.certify("localhost");
    place.write("ca.pem", authority.pem());
    place.write("certificate.pem", certified.pem());
    place.write("key.pem", certified.key_pem());
    place.write("hash", format!("{hash}\n"));
    let known = "certificate_file = \"certificate.pem\"\nkey_file = \"key.pem\"\n\
                 [admin.tokens.me]\nrole = \"read\"\nhash_file = \"hash\"\n";
    configure(&place, "noop", &table(known));
    let _host = place.start(&["run"]);
    let curl = |token: &str| {
        let url = format!("https://localhost:{port}/v1/queues");
        let mut curl = std::process::Command::new("curl");
        curl.args([
            "--silent",
            "--cacert",
            "ca.pem",
            "--max-time",
            "60",
            "--write-out",
            "%{http_code}",
            "--output",
            "answer",
        ]);
        curl.args(["--header", &format!("Authorization: Bearer {token}"), &url]).current_dir(place.path());
        String::from_utf8(curl.output().unwrap().stdout).unwrap()
    };
    assert_eq!((curl(token), curl("wrong")), ("200".into(), "401".into()));
}

#[test]
fn heads_that_are_too_large_and_methods_that_are_unknown_end_in_an_error() {
    let place = Place::default();
    configure(&place, "noop", "");
    let host = Admin::start(&place, &[]).until_ready();
    assert_eq!(host.get(&format!("/livez?{}", "x".repeat(200_000))).status / 100, 4);
    assert_eq!(host.ask("PUT", "/v1/queues", &host.token, None).status, 405);
    let served = host.get("/v1/queues");
    assert!(served.status == 200 && served.head.contains("content-security-policy: default-src 'none'"), "{served:?}");
    assert_eq!(ask(&host.address, "GET", "/v1/queues", "wasmpost_wrong", None).status, 401);
}
