//! Traces: each message carries on the trace of the message that led to it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

mod common;

use std::sync::Arc;

use common::{Kept, publish};
use parking_lot::Mutex;
use wasmpost_msg::decorator::tracing::{TraceContext, TracingReceiver, TracingTopic};
use wasmpost_msg::{Attributes, Message, Receiver, ReceiverFunc, Topic};

#[tokio::test]
async fn a_trace_goes_from_message_to_message() {
    let topic = TracingTopic(Kept::default());
    let receiver = TracingReceiver(ReceiverFunc({
        let topic = topic.clone();
        move |_| {
            let topic = topic.clone();
            async move {
                publish(&topic, &[b"next"]).await;
                Ok(())
            }
        }
    }));
    let mut attributes = Attributes::new();
    attributes.set("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    attributes.set("tracestate", "vendor=value");
    receiver.receive(Message::new(attributes, "")).await.unwrap();
    let next = TraceContext::extract(&topic.0.all()[0].attributes).unwrap();
    assert_eq!(next.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
    assert_ne!(next.span_id, 0x00f0_67aa_0ba9_02b7);
    assert_eq!((next.flags, next.state.as_deref()), (1, Some("vendor=value")));
    assert_eq!(TraceContext::current(), None, "the context ends with the message");
}

#[tokio::test]
async fn a_missing_or_broken_trace_begins_a_new_one() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let receiver = TracingReceiver(ReceiverFunc({
        let seen = Arc::clone(&seen);
        move |_| {
            seen.lock().push(TraceContext::current().unwrap());
            std::future::ready(Ok(()))
        }
    }));
    let broken = [
        "",
        "00-0-0-0",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-+1",
    ];
    for parent in broken {
        let mut attributes = Attributes::new();
        attributes.set("traceparent", parent);
        assert_eq!(TraceContext::extract(&attributes), None, "{parent}");
        receiver.receive(Message::new(attributes, "")).await.unwrap();
    }
    let seen = seen.lock();
    assert_eq!(seen.len(), broken.len());
    assert!(seen.iter().all(|context| context.trace_id != 0 && context.span_id != 0));
    assert_ne!(seen[0].trace_id, seen[1].trace_id);
}

#[test]
fn what_the_standard_does_not_let_pass_is_left_out_of_a_trace() {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff";
    let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
    let extracted = |parents: &[&str], state: &str| {
        let mut attributes = Attributes::new();
        attributes.set_all("traceparent", parents.iter().map(ToString::to_string).collect());
        attributes.set("tracestate", state);
        TraceContext::extract(&attributes)
    };
    assert_eq!(extracted(&[parent], "a=b").unwrap().flags, 3, "unknown flags");
    assert_eq!(extracted(&[parent, parent], "a=b"), None, "two parents");
    assert_eq!(extracted(&[later], "a=b").unwrap().state.as_deref(), Some("a=b"), "a later version");
    for state in ["", "a=b\r\nX-Injected: 1", "ü=b", &"a".repeat(513)] {
        assert_eq!(extracted(&[parent], state).unwrap().state, None, "{state:?}");
    }
}

#[tokio::test]
async fn a_message_published_outside_of_any_trace_begins_one_without_the_state_of_another() {
    let topic = Kept::default();
    let mut writer = TracingTopic(topic.clone()).new_writer();
    writer.attributes().set("tracestate", "left=over");
    writer.close().await.unwrap();
    let published = topic.all().remove(0);
    let context = TraceContext::extract(&published.attributes).unwrap();
    assert_eq!((context.flags, published.attributes.get("tracestate")), (1, None));
}
