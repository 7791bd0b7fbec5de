//! Attributes: several values under names that know no case.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

use proptest::prelude::*;
use wasmpost_msg::{
    Attributes, attribute_fault, canonical_name, is_reserved, qualified, tenant_name_fault, tenant_of, topic_name_fault,
};

#[test]
fn a_name_is_found_in_any_case() {
    let mut attributes = Attributes::new();
    attributes.set("content-TYPE", "text/plain");
    for name in ["Content-Type", "content-type", "CONTENT-TYPE"] {
        assert_eq!(attributes.get(name), Some("text/plain"), "{name}");
    }
}

#[test]
fn names_are_canonicalised_as_mime_header_keys() {
    for (name, canonical) in [("x-github-event", "X-Github-Event"), ("ID", "Id"), ("a b", "a b"), ("", "")] {
        assert_eq!(canonical_name(name), canonical);
    }
}

#[test]
fn get_returns_the_first_value_and_nothing_where_there_is_none() {
    let mut attributes = Attributes::new();
    attributes.append("tag", "one");
    attributes.append("Tag", "two");
    assert_eq!((attributes.get("tag"), attributes.get("other")), (Some("one"), None));
    assert_eq!(attributes.values("TAG"), ["one", "two"]);
}

#[test]
fn set_replaces_all_values() {
    let mut attributes = Attributes::new();
    attributes.append("tag", "one");
    attributes.append("tag", "two");
    attributes.set("TAG", "three");
    assert_eq!(attributes.values("tag"), ["three"]);
    assert_eq!(attributes.len(), 1);
}

#[test]
fn a_removed_attribute_is_gone() {
    let mut attributes = Attributes::new();
    attributes.set("tag", "one");
    assert_eq!(attributes.remove("TAG"), ["one"]);
    assert!(attributes.is_empty() && attributes.get("tag").is_none());
}

#[test]
fn a_copy_changes_on_its_own() {
    let mut first = Attributes::new();
    first.set("tag", "one");
    let mut second = first.clone();
    second.set("tag", "two");
    second.set("more", "x");
    assert_eq!((first.get("tag"), first.len()), (Some("one"), 1));
}

#[test]
fn names_of_the_host_are_reserved_in_any_case() {
    for name in ["Wasmpost-Hops", "wasmpost-id", "WASMPOST-"] {
        assert!(is_reserved(name) && attribute_fault(name, "").is_some(), "{name}");
    }
    assert!(!is_reserved("Wasmpostal") && !is_reserved("X-Wasmpost-Id") && !is_reserved("é"));
}

#[test]
fn what_would_break_a_header_cannot_be_an_attribute() {
    for (name, value) in [("", "v"), ("a b", "v"), ("a:b", "v"), ("ü", "v"), ("a", "x\r\ny"), ("a", "\n"), ("a", "\0")]
    {
        assert!(attribute_fault(name, value).is_some(), "{name:?} {value:?}");
    }
    assert_eq!(attribute_fault("X-Any_thing.1", "ü, \t \u{1f980}"), None);
}

#[test]
fn a_topic_cannot_be_named_like_a_wildcard_or_a_way_out() {
    for name in ["", "*", ">", "a b", "..", "a/../b", "./a", "a\n", "ü", &"a".repeat(256)] {
        assert!(topic_name_fault(name).is_some(), "{name:?}");
    }
    for name in ["orders", "github.pull_request", "a/b:c-d", &"a".repeat(255)] {
        assert_eq!(topic_name_fault(name), None);
    }
}

#[test]
fn the_name_of_a_tenant_s_topic_tells_the_tenant() {
    let name = qualified(Some("acme"), "orders/new");
    assert_eq!((name.as_str(), topic_name_fault(&name), tenant_of(&name)), ("@acme/orders/new", None, Some("acme")));
    assert_eq!(
        (qualified(None, "orders"), tenant_of("orders"), tenant_of("acme/orders")),
        ("orders".into(), None, None)
    );
    for name in ["@", "@acme", "@acme/", "@/x", "@../x", "@a/b/../c", "@a@b/c", "@a b/c", "@acme/@beta/x", "a/@b/c"] {
        assert!(topic_name_fault(name).is_some(), "{name:?}");
    }
    assert!(tenant_name_fault("acme-1.eu_west").is_none());
    assert!(["", ".", "..", "a/b", "@a", "a:b", &"a".repeat(64)].iter().all(|name| tenant_name_fault(name).is_some()));
}

#[test]
fn the_spelling_that_a_name_came_with_is_kept_and_survives_json() {
    let mut attributes = Attributes::new();
    attributes.set("x-githubEvent", "push");
    attributes.set("X-GITHUBEVENT", "ping");
    let text = serde_json::to_string(&attributes).unwrap();
    assert_eq!(text, r#"{"x-githubEvent":["ping"]}"#);
    let read: Attributes = serde_json::from_str(&text).unwrap();
    assert_eq!(read.iter_spelled().map(|(name, _)| name).collect::<Vec<_>>(), ["x-githubEvent"]);
    assert_eq!(read.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["X-Githubevent"]);
}

#[test]
fn a_name_that_is_no_token_is_found_as_it_was_written_and_not_otherwise() {
    let mut attributes = Attributes::new();
    attributes.set("two words", "value");
    assert_eq!((attributes.get("two words"), attributes.get("Two Words")), (Some("value"), None));
}

#[test]
fn setting_no_values_removes_the_name() {
    let mut attributes: Attributes = [("tag", "one"), ("other", "two")].into_iter().collect();
    attributes.set_all("TAG", Vec::new());
    assert_eq!((attributes.get("tag"), attributes.len(), attributes.bytes()), (None, 1, 8));
}

proptest! {
    #[test]
    fn any_token_is_found_in_any_case(name in "[A-Za-z0-9._-]{1,20}", value in "\\PC{0,8}") {
        let mut attributes = Attributes::new();
        attributes.set(&name, value.clone());
        for other in [name.to_lowercase(), name.to_uppercase(), canonical_name(&name)] {
            prop_assert_eq!(attributes.get(&other), Some(value.as_str()));
        }
        prop_assert_eq!(attributes.len(), 1);
    }

    #[test]
    fn set_leaves_one_value_and_the_other_names_alone(
        name in "[A-Za-z-]{1,8}", values in proptest::collection::vec("\\PC{0,8}", 0..4), value in "\\PC{0,8}",
    ) {
        let mut attributes: Attributes = [("other_name", "kept")].into_iter().collect();
        values.into_iter().for_each(|value| attributes.append(&name, value));
        attributes.set(&name.to_uppercase(), value.clone());
        prop_assert_eq!(attributes.values(&name), [value]);
        prop_assert_eq!((attributes.get("other_name"), attributes.len()), (Some("kept"), 2));
    }

    #[test]
    fn canonical_names_stay_what_they_are(name in "\\PC{0,20}") {
        let canonical = canonical_name(&name);
        prop_assert_eq!(canonical_name(&canonical), canonical);
    }

    #[test]
    fn appended_values_keep_their_order(values in proptest::collection::vec("\\PC{0,8}", 0..8)) {
        let mut attributes = Attributes::new();
        for (number, value) in values.iter().enumerate() {
            attributes.append(if number % 2 == 0 { "x-tag" } else { "X-TAG" }, value.clone());
        }
        prop_assert_eq!(attributes.values("X-Tag"), &values[..]);
    }

    #[test]
    fn attributes_survive_json(
        pairs in proptest::collection::vec(("[A-Za-z-]{1,8}", proptest::collection::vec("\\PC{0,8}", 1..4)), 0..8),
    ) {
        let mut attributes = Attributes::new();
        for (name, values) in pairs {
            values.into_iter().for_each(|value| attributes.append(&name, value));
        }
        let text = serde_json::to_string(&attributes).unwrap();
        prop_assert_eq!(serde_json::from_str::<Attributes>(&text).unwrap(), attributes);
    }
}

/// Changes to attributes, on few names so that they meet.
fn changes() -> impl Strategy<Value = Vec<(u8, String, Vec<String>)>> {
    proptest::collection::vec((0..4_u8, "[aAbB]{1,2}", proptest::collection::vec("[a-z]{0,3}", 0..3)), 0..40)
}

proptest! {
    #[test]
    fn the_sums_of_bytes_and_values_are_those_of_what_is_there(changes in changes()) {
        let mut attributes = Attributes::new();
        let mut shared = attributes.clone();
        for (change, name, values) in changes {
            shared = attributes.clone();
            match change {
                0 => attributes.set_all(&name, values),
                1 => values.into_iter().for_each(|value| attributes.append(&name, value)),
                2 => drop(attributes.remove(&name)),
                _ => attributes.retain(|kept| kept != canonical_name(&name)),
            }
        }
        for attributes in [attributes, shared] {
            let all: Vec<_> = attributes.iter().collect();
            let bytes = |(name, values): &(&str, &[String])| name.len() + values.concat().len();
            prop_assert_eq!(attributes.bytes(), all.iter().map(bytes).sum::<usize>());
            prop_assert_eq!(attributes.values_len(), all.iter().map(|(_, values)| values.len()).sum::<usize>());
        }
    }
}
