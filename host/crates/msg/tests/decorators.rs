//! Decorators: what the topic's does, the receiver's undoes, and neither touches what is not marked.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{Kept, Published};
use parking_lot::Mutex;
use proptest::prelude::*;
use wasmpost_msg::decorator::base64::{Base64Receiver, Base64Topic};
use wasmpost_msg::decorator::lz4::{Lz4Receiver, Lz4Topic};
use wasmpost_msg::decorator::tracing::{TraceContext, TracingReceiver, TracingTopic};
use wasmpost_msg::{Attributes, Disposition, Message, Reason, ReceiveError, Receiver, ReceiverFunc, Topic, WriteError};

type Received = Arc<Mutex<Vec<(Attributes, Bytes)>>>;

/// A receiver that keeps what it got.
fn keeping() -> (Received, impl Receiver + Clone) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    let receiver = ReceiverFunc(move |mut message: Message| {
        let keep = Arc::clone(&keep);
        async move {
            let body = message.body.collect(1 << 20).await.map_err(|error| ReceiveError::retry(error.to_string()))?;
            keep.lock().push((message.attributes, body));
            Ok(())
        }
    });
    (kept, receiver)
}

async fn publish(topic: &dyn Topic, pieces: &[&[u8]]) {
    let mut writer = topic.new_writer();
    writer.attributes().set("tag", "kept");
    for piece in pieces {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    writer.close().await.unwrap();
    assert!(matches!(writer.close().await, Err(WriteError::Closed)));
    assert!(matches!(writer.write("late".into()).await, Err(WriteError::Closed)));
}

fn message(published: &Published) -> Message {
    Message::new(published.attributes.clone(), published.body.clone())
}

#[tokio::test]
async fn base64_is_marked_exact_and_undone() {
    let topic = Kept::default();
    publish(&Base64Topic(topic.clone()), &[b"he", b"llo wor", b"", b"ld"]).await;
    let published = topic.all().remove(0);
    assert_eq!(published.body, "aGVsbG8gd29ybGQ=");
    assert_eq!(published.attributes.get("Content-Transfer-Encoding"), Some("base64"));
    let (kept, receiver) = keeping();
    Base64Receiver::new(receiver, 100).receive(message(&published)).await.unwrap();
    let (attributes, body) = kept.lock().remove(0);
    assert_eq!((attributes.get("tag"), attributes.get("Content-Transfer-Encoding")), (Some("kept"), None));
    assert_eq!(body, "hello world");
}

#[tokio::test]
async fn lz4_is_marked_smaller_and_undone() {
    let topic = Kept::default();
    let body = b"wasm ".repeat(2000);
    publish(&Lz4Topic(topic.clone()), &[&body[..7000], &body[7000..]]).await;
    let published = topic.all().remove(0);
    assert_eq!(published.attributes.get("Content-Encoding"), Some("lz4"));
    assert!(published.body.len() < body.len() / 10, "{}", published.body.len());
    let (kept, receiver) = keeping();
    Lz4Receiver::new(receiver, 1 << 20).receive(message(&published)).await.unwrap();
    assert_eq!(kept.lock()[0].1, body);
}

#[tokio::test]
async fn base64_around_lz4_is_undone_from_the_outside_in() {
    let topic = Kept::default();
    publish(&Lz4Topic(Base64Topic(topic.clone())), &[b"hello"]).await;
    let (kept, receiver) = keeping();
    let receiver = Base64Receiver::new(Lz4Receiver::new(receiver, 100), 100);
    receiver.receive(message(&topic.all()[0])).await.unwrap();
    assert_eq!(kept.lock()[0].1, "hello");
}

#[tokio::test]
async fn a_message_that_is_not_marked_is_left_alone() {
    let (kept, receiver) = keeping();
    let receiver = Base64Receiver::new(Lz4Receiver::new(receiver, 3), 3);
    let mut other = Attributes::new();
    other.set("Content-Encoding", "gzip");
    other.set("Content-Transfer-Encoding", "8bit");
    for attributes in [Attributes::new(), other] {
        receiver.receive(Message::new(attributes, "aGVsbG8=")).await.unwrap();
    }
    assert!(kept.lock().iter().all(|(_, body)| body == "aGVsbG8="));
}

#[tokio::test]
async fn a_body_that_is_not_what_its_mark_says_is_rejected() {
    let (kept, receiver) = keeping();
    let receiver = Base64Receiver::new(Lz4Receiver::new(receiver, 100), 100);
    for (name, value) in [("Content-Transfer-Encoding", "BASE64"), ("Content-Encoding", "lz4")] {
        let mut attributes = Attributes::new();
        attributes.set(name, value);
        let error = receiver.receive(Message::new(attributes, "not *that*")).await.unwrap_err();
        assert_eq!((error.disposition(), error.reason()), (Disposition::Reject, Reason::Rejected), "{error}");
    }
    assert!(kept.lock().is_empty());
}

#[tokio::test]
async fn a_body_that_grows_beyond_the_bound_is_rejected_before_the_receiver_sees_it() {
    let topic = Kept::default();
    publish(&Lz4Topic(topic.clone()), &[&vec![0; 1 << 20]]).await;
    let (kept, receiver) = keeping();
    let error = Lz4Receiver::new(receiver, 64 << 10).receive(message(&topic.all()[0])).await.unwrap_err();
    assert_eq!((error.disposition(), error.reason()), (Disposition::Reject, Reason::BodyTooLarge));
    assert!(kept.lock().is_empty());
}

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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_body_survives_both_encodings(pieces in proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 0..3000), 0..5)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let topic = Kept::default();
            let borrowed: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            publish(&Lz4Topic(Base64Topic(topic.clone())), &borrowed).await;
            let (kept, receiver) = keeping();
            let receiver = Base64Receiver::new(Lz4Receiver::new(receiver, 1 << 20), 1 << 20);
            receiver.receive(message(&topic.all()[0])).await.unwrap();
            prop_assert_eq!(&kept.lock()[0].1[..], &pieces.concat()[..]);
            Ok(())
        })?;
    }
}
