//! Requests that become messages, and hosts that take them in their own ways.

use wasmpost_tests::{Place, guest, stats, wait_until_acked};

use crate::client::{address, post};
use crate::{configure, start, stop};

#[test]
fn a_post_becomes_a_message_which_is_delivered_and_a_repeated_one_adds_nothing() {
    let place = Place::default();
    configure(&place, "signature = \"none\"", "");
    let (host, address) = start(&place);
    let anonymous = post(address, "/hooks", &[], "{}").stored();
    assert!(anonymous.len() > 30, "{anonymous}");
    let named = [("Idempotency-Key", "\"order-1\""), ("Content-Type", "application/json")];
    let first = post(address, "/hooks", &named, "{}");
    assert_eq!((first.stored(), &first.json()["duplicate"]), ("order-1".to_owned(), &false.into()));
    let again = post(address, "/hooks", &named, "{}");
    assert_eq!((again.stored(), &again.json()["duplicate"]), ("order-1".to_owned(), &true.into()));
    wait_until_acked(&place, "hooks", 2);
    assert_eq!(stats(&place, "hooks")["ready"], 0);
    stop(host);
}

#[test]
fn a_host_without_receivers_takes_messages_for_others() {
    let place = Place::default();
    let path = "listen = \"127.0.0.1:0\"\npath = \"/a\"\nsignature = \"none\"\ntopic = \"a\"";
    place.write("wasmpost.toml", format!("[[ingress]]\n{path}\n"));
    let (host, line) = place.start_until(&["run"], "listening for requests");
    let address = line["address"].as_str().unwrap().parse().unwrap();
    post(address, "/a", &[("Idempotency-Key", "1")], "{}").stored();
    stop(host);
    let taken = place.run(&["check", "--queue", "wasmpost.db"]).exits(0).stdout();
    assert!(taken.contains("1 message"), "{taken}");
}

#[test]
fn the_quota_of_a_tenant_is_told_as_one() {
    let place = Place::default();
    let component = guest("noop");
    place.write(
        "wasmpost.toml",
        format!(
            "[tenants.acme]\nmessages = 2\n[[receivers]]\nqueue = \"other\"\ntenant = \"acme\"\ncomponent = {component:?}\n\
             [[ingress]]\nlisten = \"127.0.0.1:0\"\npath = \"/a\"\nsignature = \"none\"\ntopic = \"@acme/waiting\"\n"
        ),
    );
    let (host, address) = start(&place);
    post(address, "/a", &[], "1").stored();
    post(address, "/a", &[], "2").stored();
    let full = post(address, "/a", &[], "3");
    full.refuses(429, "quota");
    assert_eq!(full.header("retry-after"), Some("30"));
    stop(host);
}

#[test]
fn two_paths_share_an_address_and_each_has_its_topic() {
    let place = Place::default();
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let component = guest("noop");
    let mut text = String::new();
    for name in ["a", "b"] {
        text += &format!(
            "[[receivers]]\nqueue = \"{name}\"\ncomponent = {component:?}\n[[ingress]]\nlisten = \"127.0.0.1:{port}\"\n\
             path = \"/{name}\"\nsignature = \"none\"\ntopic = \"{name}\"\n"
        );
    }
    place.write("wasmpost.toml", text);
    let mut host = place.start(&["run"]);
    let address = address(&mut host);
    assert_eq!(address.port(), port);
    for (path, times) in [("/a", 1), ("/b", 2)] {
        (0..times).for_each(|_| drop(post(address, path, &[], "{}").stored()));
        wait_until_acked(&place, &path[1..], times);
    }
    post(address, "/c", &[], "{}").refuses(404, "path");
    stop(host);
}
