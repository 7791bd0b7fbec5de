//! Answers: what senders are told of each fault, and what becomes a message.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

mod common;

use std::sync::Arc;

use common::{Answer, Fake, ask, options, post, serve};
use wasmpost_delivery::{BrokerError, BrokerErrorKind};
use wasmpost_ingress::{CloudEvents, EndpointOptions, HeaderName, Method, Signature, TakenHeader};

fn bearer() -> Signature {
    Signature::new(Method::Bearer, Some(&"s3cr3t".to_owned().into())).unwrap()
}

/// The answer of a path to a request.
async fn answer(broker: &Arc<Fake>, options: EndpointOptions, text: &str) -> Answer {
    let ingress = serve(broker, options, 16);
    ask(ingress.address(), text.to_owned()).await
}

#[track_caller]
fn assert_problem(answer: &Answer, status: u16, words: &str) {
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (status, Some("application/problem+json")),
        "{answer:?}"
    );
    let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(problem["status"], status);
    assert!(problem["detail"].as_str().unwrap().contains(words), "{words:?} in {problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_a_request_has_a_status_and_says_what_to_do() {
    let broker = Fake::open();
    let options = EndpointOptions {
        signature: bearer(),
        body_bytes_max: 8,
        content_types: vec!["application/json".into()],
        id_header: Some(HeaderName::from_static("x-id")),
        ..options()
    };
    let good = [("Authorization", "Bearer s3cr3t"), ("Content-Type", "Application/JSON; charset=utf-8"), ("X-Id", "1")];
    let with = |name: &str, value: &'static str| {
        let mut headers = good.to_vec();
        headers.retain(|(own, _)| *own != name);
        headers.extend((!value.is_empty()).then_some((
            if name == "X-Id" {
                "X-Id"
            } else if name == "Content-Type" {
                "Content-Type"
            } else {
                "Authorization"
            },
            value,
        )));
        headers
    };
    let elsewhere = post(&good, "{}").replace("/hooks", "/hooks/");
    let read = post(&good, "{}").replace("POST", "GET");
    let chunked = "Transfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n";
    let chunked = post(&good, "").replace("Content-Length: 0\r\n", "").replace("\r\n\r\n", "\r\n") + chunked;
    let mut zipped = good.to_vec();
    zipped.push(("Content-Encoding", "gzip"));
    for (text, status, words, header) in [
        (elsewhere, 404, "nothing is taken", None),
        (read, 405, "POST", Some(("allow", "POST"))),
        (post(&with("Authorization", ""), "{}"), 401, "token is missing", Some(("www-authenticate", "Bearer"))),
        (post(&with("Authorization", "Bearer s3cr3"), "{}"), 401, "not one that is accepted", None),
        (post(&with("Content-Type", "text/plain"), "{}"), 415, "send application/json", None),
        (post(&with("Content-Type", ""), "{}"), 415, "send application/json", None),
        (post(&zipped, "{}"), 415, "Content-Encoding", Some(("accept-encoding", "identity"))),
        (post(&good, "123456789"), 413, "limit of 8 bytes", Some(("connection", "close"))),
        (chunked, 413, "limit of 8 bytes", Some(("connection", "close"))),
        (post(&with("X-Id", ""), "{}"), 400, "x-id is missing", None),
    ] {
        let answer = answer(&broker, options.clone(), &text).await;
        assert_problem(&answer, status, words);
        if let Some((name, value)) = header {
            assert_eq!(answer.header(name), Some(value), "{answer:?}");
        }
    }
    assert!(broker.stored.lock().is_empty(), "nothing that is refused is stored");
    assert_eq!(answer(&broker, options, &post(&good, "12345678")).await.status, 202);
}

/// A fault, the status and words that it is told with, and the time to wait.
type Fault = (fn() -> BrokerError, u16, &'static str, Option<&'static str>);

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_the_broker_has_a_status_and_a_time_to_wait() {
    let broker = Fake::open();
    let faults: [Fault; 6] = [
        (|| BrokerError::new(BrokerErrorKind::Unavailable, "secret place"), 503, "under the same id", Some("5")),
        (|| BrokerError::new(BrokerErrorKind::Closed, "secret place"), 503, "under the same id", Some("5")),
        (|| BrokerError::new(BrokerErrorKind::Full, "secret place"), 503, "no room", Some("30")),
        (|| BrokerError::new(BrokerErrorKind::Full, "secret place").of_quota(), 429, "quota", Some("30")),
        (|| BrokerError::new(BrokerErrorKind::Limit, "secret place").of_quota(), 429, "quota", Some("30")),
        (|| BrokerError::new(BrokerErrorKind::Invalid, "id \"x\" is wrong"), 400, "id \"x\" is wrong", None),
    ];
    for (fault, status, words, wait) in faults {
        *broker.fault.lock() = Some(fault);
        let answer = answer(&broker, options(), &post(&[], "{}")).await;
        assert_problem(&answer, status, words);
        assert_eq!(answer.header("retry-after"), wait, "{answer:?}");
        assert!(!answer.body.contains("secret place"), "the inside of the host is not told: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_can_send_nothing_where_nothing_has_to_be_signed() {
    let broker = Fake::open();
    for header in [("Origin", "https://example.com"), ("Origin", "null"), ("Sec-Fetch-Site", "cross-site")] {
        assert_problem(&answer(&broker, options(), &post(&[header], "{}")).await, 403, "web pages");
        // With a token, it is a program of its own.
        let signed = EndpointOptions { signature: bearer(), ..options() };
        let headers = [header, ("Authorization", "Bearer s3cr3t")];
        assert_eq!(answer(&broker, signed, &post(&headers, "{}")).await.status, 202);
    }
    assert_eq!(broker.stored.lock().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_rate_waits_and_what_is_not_signed_takes_nothing_from_it() {
    let broker = Fake::open();
    let ingress = serve(&broker, EndpointOptions { signature: bearer(), rate: Some(1), ..options() }, 16);
    for _ in 0..3 {
        assert_eq!(ask(ingress.address(), post(&[], "{}")).await.status, 401);
    }
    let signed = || ask(ingress.address(), post(&[("Authorization", "Bearer s3cr3t")], "{}"));
    assert_eq!(signed().await.status, 202);
    let refused = signed().await;
    assert_problem(&refused, 429, "rate");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(broker.stored.lock().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_become_attributes_id_and_key() {
    let broker = Fake::open();
    let options = EndpointOptions {
        headers: ["X-GitHub-Event", "X-Tag*"].map(|name| TakenHeader::parse(name).unwrap()).to_vec(),
        key_header: Some(HeaderName::from_static("x-customer")),
        ..options()
    };
    let headers = [
        ("x-github-event", "push"),
        ("X-Tag", "one"),
        ("X-Tag", "Grüße"),
        ("X-Other", "left out"),
        ("X-Customer", "7"),
        ("Content-Type", "text/plain"),
        ("Idempotency-Key", "\"order-1\""),
    ];
    let answer = answer(&broker, options, &post(&headers, "hello")).await;
    assert_eq!((answer.status, &*answer.body), (202, "{\"id\":\"order-1\",\"duplicate\":false}"));
    let stored = broker.stored.lock().remove(0).remove(0);
    let attributes: Vec<_> = stored.attributes.iter_spelled().map(|(name, values)| (name, values.join("|"))).collect();
    let expected = [("X-GitHub-Event", "push"), ("X-Tag", "one|Grüße"), ("Content-Type", "text/plain")];
    assert_eq!(attributes, expected.map(|(name, values)| (name, values.to_owned())));
    assert_eq!(
        (stored.id.as_deref(), stored.key.as_deref(), &*stored.body),
        (Some("order-1"), Some("7"), &b"hello"[..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_events_is_stored_in_one_call() {
    let broker = Fake::open();
    let event = |id: u32| {
        format!(r#"{{"specversion":"1.0","type":"t","source":"s","id":"{id}","partitionkey":"k","data":{{"n":{id}}}}}"#)
    };
    let options = EndpointOptions { cloud_events: CloudEvents::Required, ..options() };
    let batch = [("Content-Type", "application/cloudevents-batch+json")];
    let answer = answer(&broker, options.clone(), &post(&batch, &format!("[{},{}]", event(1), event(2)))).await;
    assert_eq!(answer.status, 202);
    let told: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&told["messages"][0]["id"], &told["messages"][1]["id"]), (&"s#1".into(), &"s#2".into()));
    let stored = broker.stored.lock().remove(0);
    assert_eq!(
        stored.iter().map(|one| (&*one.body, one.key.as_deref())).collect::<Vec<_>>(),
        [(&b"{\"n\":1}"[..], Some("k")), (b"{\"n\":2}", Some("k"))]
    );
    *broker.fault.lock() = Some(|| BrokerError::new(BrokerErrorKind::Limit, "quota").of_quota());
    let full = self::answer(&broker, options.clone(), &post(&batch, &format!("[{},{}]", event(1), event(2)))).await;
    assert_problem(&full, 413, "fewer at a time");
    assert_problem(&self::answer(&broker, options, &post(&[], "{}")).await, 415, "no CloudEvent");
}
