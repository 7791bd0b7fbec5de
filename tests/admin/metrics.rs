//! The metrics of a host at work, as Prometheus reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;

use wasmpost_tests::{Place, wait_until};

use super::client::Admin;
use super::{configure, publish};

/// The samples of a text: the name, the labels and the value of each. Every sample has to follow the type of its metric.
fn parse(text: &str) -> Vec<(String, BTreeMap<String, String>, f64)> {
    let mut samples = Vec::new();
    let mut kinds = BTreeMap::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(kinds.insert(name.to_owned(), kind.to_owned()), None, "{name} is told once");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (named, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = named.split_once('{').unwrap_or((named, "}"));
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let family = family.filter(|family| kinds.get(*family).is_some_and(|kind| kind == "histogram")).unwrap_or(name);
        let kind = kinds.get(family).unwrap_or_else(|| panic!("{name} has no type"));
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        let labels = labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty());
        let labels = labels.map(|label| {
            let (name, value) = label.split_once("=\"").unwrap();
            (name.to_owned(), value.trim_end_matches('"').to_owned())
        });
        samples.push((name.to_owned(), labels.collect(), value.parse().unwrap()));
    }
    samples
}

#[test]
fn what_becomes_of_messages_is_counted_and_no_label_comes_from_one() {
    let place = Place::default();
    configure(&place, "rejecting", "");
    let host = Admin::start(&place, &[]).until_ready();
    publish(&place, 3);
    // A topic that a publisher made up.
    place.run_with(&["publish", "made-up", "-", "--attribute", "X-A=made-up-value"], "made-up-body").exits(0);
    let value = |name: &str, wanted: &[(&str, &str)]| {
        let found = parse(&host.get("/metrics").body).into_iter().find(|(other, labels, _)| {
            let has = |(name, value): &(&str, &str)| labels.get(*name).is_some_and(|label| label == value);
            other == name && wanted.iter().all(has)
        });
        found.map(|(_, _, value)| value)
    };
    let dead = [("receiver", "orders"), ("outcome", "dead"), ("reason", "rejected")];
    wait_until("three died", || value("wasmpost_deliveries_total", &dead) == Some(3.0));
    wait_until("three are dead", || value("wasmpost_queue_dead", &[("queue", "orders")]) == Some(3.0));
    assert_eq!(value("wasmpost_deliveries_total", &[("outcome", "acked")]), Some(0.0));
    assert_eq!(value("wasmpost_delivery_cpu_seconds_count", &[("receiver", "orders")]), Some(3.0));
    assert_eq!(value("wasmpost_delivery_memory_peak_bytes_bucket", &[("le", "+Inf")]), Some(3.0));
    assert_eq!(value("messaging_process_duration_seconds_count", &[("error_type", "_OTHER")]), Some(3.0));
    assert_eq!(value("messaging_client_consumed_messages_total", &[("messaging_system", "wasmpost")]), Some(3.0));
    assert_eq!(value("wasmpost_queue_oldest_due_age_seconds", &[("queue", "orders")]), Some(0.0));
    assert_eq!(value("wasmpost_broker_up", &[("broker", "default")]), Some(1.0));
    let text = host.get("/metrics").body;
    assert!(!text.contains("made-up"), "{text}");
    let names: BTreeSet<_> = parse(&text).into_iter().flat_map(|(_, labels, _)| labels.into_keys()).collect();
    let known = [
        "broker",
        "error_type",
        "le",
        "messaging_destination_name",
        "messaging_operation_name",
        "messaging_system",
        "outcome",
        "queue",
        "reason",
        "receiver",
        "tenant",
        "version",
        "wasmpost_receiver",
    ];
    assert_eq!(names.into_iter().collect::<Vec<_>>(), known);
}

#[test]
fn a_message_that_is_due_and_in_nobodys_hands_has_an_age_that_an_autoscaler_sees() {
    let place = Place::default();
    // One delivery at a time, which does not end before the test does.
    let endless = "[host]\ngrace = \"1ms\"";
    configure(&place, "looping", endless);
    let text = std::fs::read_to_string(place.path().join("wasmpost.toml")).unwrap();
    place.write("wasmpost.toml", format!("{text}concurrency = 1\nlimits = {{ cpu = \"60s\", wall = \"60s\" }}\n"));
    let host = Admin::start(&place, &[]).until_ready();
    publish(&place, 3);
    let scale = || host.get("/v1/scale?queue=orders").json();
    wait_until("one is in flight", || scale()["in_flight"] == 1 && scale()["due"] == 2);
    wait_until("the others wait", || scale()["oldest_due_age_seconds"].as_f64() > Some(0.0));
    let all = host.get("/v1/scale").json();
    assert_eq!((&all["backlog"], &all["queues"][0]["queue"]), (&3.into(), &"orders".into()), "{all}");
}

#[test]
fn requests_by_http_are_counted_by_path_and_status() {
    let place = Place::default();
    let port = super::free_port();
    let ingress = "path = \"/hooks\"\ntopic = \"orders\"\nsignature = \"none\"";
    configure(&place, "noop", &format!("[[ingress]]\nlisten = \"127.0.0.1:{port}\"\n{ingress}"));
    let host = Admin::start(&place, &[]).until_ready();
    for method in ["POST", "POST", "GET"] {
        let mut sender = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let request =
            format!("{method} /hooks?made-up HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        sender.write_all(request.as_bytes()).unwrap();
        sender.read_to_end(&mut Vec::new()).unwrap();
    }
    let text = host.get("/metrics").body;
    let counted = parse(&text).into_iter().filter(|(name, _, _)| name == "wasmpost_ingress_answers_total");
    let counted: Vec<_> =
        counted.map(|(_, labels, value)| (labels["path"].clone(), labels["status"].clone(), value)).collect();
    let path = || "/hooks".to_owned();
    assert_eq!(counted, [(path(), "202".into(), 2.0), (path(), "405".into(), 1.0)]);
    assert!(!text.contains("made-up") && text.contains("wasmpost_ingress_connections{"), "{text}");
    assert_eq!(host.end().0, Some(0));
}
