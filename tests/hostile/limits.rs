//! Every limit has a guest that runs into it.

use wasmpost_sandbox::Limits;

use crate::guests::*;

/// Limits by name, and the guest whose test proves each.
const PROVEN: &[(&str, Hostile)] = &[
    ("wall", A08_SLEEP),
    ("cpu", A01_LOOP),
    ("memory", A03_GROW),
    ("table_elements", A04_GROW),
    ("body", A17_CALLED),
    ("publish_messages", A12_FLOOD),
    ("publish_bytes", A12_GIBIBYTE),
    ("publish_message_bytes", A12_GIBIBYTE),
    ("refusals", A11_FLOOD),
    ("error_text", A07_ERROR_TEXT),
    ("log_bytes", A06_GIBIBYTE),
    ("log_lines", A06_LOG_LINES),
    ("handles", A08_WRITERS),
    ("attributes", A13_FORGE),
    ("attribute_name_bytes", A13_FORGE),
    ("attribute_value_bytes", A13_FORGE),
    ("attributes_bytes", A13_FORGE),
    ("hops", A12_FORWARD),
    ("http_requests", A09_FETCHING),
    ("http_open", A09_FETCHING),
    ("http_body", A09_FETCHING),
];

#[test]
fn every_limit_has_a_guest_that_runs_into_it() {
    let limits: Vec<_> = Limits::table().iter().map(|row| row.name).collect();
    let proven: Vec<_> = PROVEN.iter().map(|(limit, guest)| (*limit, guest.name)).collect();
    assert_eq!(limits, proven.iter().map(|(limit, _)| *limit).collect::<Vec<_>>(), "{proven:?}");
}
