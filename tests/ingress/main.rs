//! Messages by HTTP, from outside: what is stored, what is answered, and senders that are slow, many or hostile.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

mod client;
mod configuring;
mod load;
mod taking;
mod webhooks;

use std::net::SocketAddr;

use wasmpost_tests::{Host, Place, guest};

/// Writes a configuration: a receiver of the queue `hooks`, and what is said of a path for its topic.
pub(crate) fn configure(place: &Place, path: &str, more: &str) {
    let component = guest("noop");
    let text = format!(
        "[[receivers]]\nqueue = \"hooks\"\ncomponent = {component:?}\n\
         [[ingress]]\nlisten = \"127.0.0.1:0\"\npath = \"/hooks\"\ntopic = \"hooks\"\n{path}\n{more}\n"
    );
    place.write("wasmpost.toml", text);
}

/// Starts a host, and tells where it takes messages.
pub(crate) fn start(place: &Place) -> (Host, SocketAddr) {
    let mut host = place.start(&["run"]);
    let address = client::address(&mut host);
    (host, address)
}

/// Stops a host, which ends in order.
#[track_caller]
pub(crate) fn stop(host: Host) {
    host.signal("TERM");
    let (code, log) = host.end();
    assert_eq!(code, Some(0), "{log}");
}
