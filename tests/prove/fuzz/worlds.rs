//! Guests of every world that answer as the message tells them to: with any answer the host stays up, and they publish
//! nothing that they may not.

use proptest::collection::vec;
use proptest::prelude::*;
use wasmpost_msg::{Reason, attribute_fault};
use wasmpost_sandbox::{ReceiverOptions, WasmReceiver};
use wasmpost_tests::guest;
use wasmpost_tests_host::outcome::{Outcome, deliver, receiver};

use super::fuzz;

/// The worlds, by their guests. Each with what they answer going to a topic, and without.
const GUESTS: &[&str] = &["told", "told-http", "told-cli", "told-messaging", "told-wasmcloud"];

fn receivers(name: &str) -> [WasmReceiver; 2] {
    let component = std::fs::read(guest(name)).unwrap();
    [None, Some("answers".to_owned())].map(|output| {
        let mut options = ReceiverOptions { output, topic: "orders".into(), ..ReceiverOptions::default() };
        options.grants.publish.push("out*".parse().unwrap());
        receiver(&component, options)
    })
}

fn check(name: &str, outcome: &Outcome) {
    if let Err(error) = &outcome.result {
        assert_ne!(error.reason(), Reason::HostFault, "{name}: {}", error.text());
    }
    for sent in &outcome.published {
        assert!(sent.topic == "answers" || sent.topic.starts_with("out"), "{name} published to {:?}", sent.topic);
        assert!(wasmpost_delivery::topic_name_fault(&sent.topic).is_none(), "{name}: topic {:?}", sent.topic);
        for (attribute, values) in sent.attributes.iter() {
            for value in values {
                assert_eq!(attribute_fault(attribute, value), None, "{name}: {attribute:?}: {value:?}");
            }
        }
    }
}

#[test]
fn the_host_can_take_any_answer_of_a_guest_of_any_world() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for name in GUESTS {
        let receivers = receivers(name);
        let told = prop_oneof![
            vec(any::<u8>(), 0..64),
            vec(any::<u8>(), 64..600),
            "[ -~\\r\\n\\t\u{e9}\u{1f426}]{0,64}".prop_map(String::into_bytes)
        ];
        fuzz(name, (any::<bool>(), told), |(with_output, told)| {
            let receiver = &receivers[usize::from(with_output)];
            check(name, &runtime.block_on(deliver(receiver, 1, &[("A", "b")], told)));
        });
    }
}
