//! Decorators: what the topic's does, the receiver's undoes, and neither touches what is not marked.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Kept, Published, publish};
use parking_lot::Mutex;
use proptest::prelude::*;
use wasmpost_msg::decorator::base64::{Base64Receiver, Base64Topic};
use wasmpost_msg::decorator::lz4::{Lz4Receiver, Lz4Topic};
use wasmpost_msg::decorator::tracing::TracingTopic;
use wasmpost_msg::{
    Attributes, Body, Disposition, Message, Reason, ReceiveError, Receiver, ReceiverFunc, Topic, WriteError,
};

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
async fn a_body_may_be_as_large_as_the_bound_and_no_larger_however_it_was_encoded() {
    for bytes in [0, 1, 2, 3, 1000, 200_000] {
        // Random bytes cannot be compressed.
        let body: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(bytes).collect();
        let topic = Kept::default();
        publish(&Base64Topic(topic.clone()), &[&body]).await;
        publish(&Lz4Topic(topic.clone()), &[&body]).await;
        for published in topic.all() {
            let (kept, receiver) = keeping();
            Base64Receiver::new(Lz4Receiver::new(receiver, bytes), bytes).receive(message(&published)).await.unwrap();
            assert_eq!(kept.lock()[0].1, body);
            if let Some(less) = bytes.checked_sub(1) {
                let (kept, receiver) = keeping();
                let receiver = Base64Receiver::new(Lz4Receiver::new(receiver, less), less);
                let error = receiver.receive(message(&published)).await.unwrap_err();
                assert_eq!(error.reason(), Reason::BodyTooLarge, "{bytes}");
                assert!(kept.lock().is_empty());
            }
        }
    }
}

#[tokio::test]
async fn no_more_than_the_bound_is_read_or_decompressed() {
    let topic = Kept::default();
    publish(&Lz4Topic(topic.clone()), &[&vec![0; 1 << 20]]).await;
    let mut published = topic.all().remove(0);
    // The fault at the end would be met by whoever went that far.
    let mut broken = published.body.to_vec();
    *broken.last_mut().unwrap() ^= 1;
    published.body = broken.into();
    let mut marked = Attributes::new();
    marked.set("content-transfer-encoding", "base64");
    let endless = Message::new(marked, Body::from_reader(tokio::io::repeat(b'A')));
    for message in [message(&published), endless] {
        let (kept, receiver) = keeping();
        let receiver = Base64Receiver::new(Lz4Receiver::new(receiver, 64 << 10), 64 << 10);
        let error = receiver.receive(message).await.unwrap_err();
        assert_eq!(error.reason(), Reason::BodyTooLarge, "{error}");
        assert!(kept.lock().is_empty());
    }
}

#[tokio::test]
async fn a_body_that_could_not_be_read_is_delivered_again() {
    let faulty = std::io::Error::other("connection lost");
    let body = Body::from_reader(tokio_util::io::StreamReader::new(futures::stream::iter([Err::<Bytes, _>(faulty)])));
    let mut marked = Attributes::new();
    marked.set("content-encoding", "lz4");
    let (_, receiver) = keeping();
    let error = Lz4Receiver::new(receiver, 100).receive(Message::new(marked, body)).await.unwrap_err();
    assert_eq!(error.disposition(), Disposition::Retry);
    assert!(error.text().contains("connection lost"), "{error}");
}

#[tokio::test]
async fn no_bound_at_all_is_a_bound_that_works() {
    let topic = Kept::default();
    publish(&Lz4Topic(Base64Topic(topic.clone())), &[b"hello"]).await;
    let (kept, receiver) = keeping();
    let receiver = Base64Receiver::new(Lz4Receiver::new(receiver, usize::MAX), usize::MAX);
    receiver.receive(message(&topic.all()[0])).await.unwrap();
    assert_eq!(kept.lock()[0].1, "hello");
}

#[tokio::test]
async fn base64_with_line_breaks_is_undone() {
    let mut attributes = Attributes::new();
    attributes.set("content-transfer-encoding", "base64");
    let (kept, receiver) = keeping();
    let encoded = format!("{}\r\n{}\r\n", "YWJj".repeat(16), "YWJj".repeat(4));
    Base64Receiver::new(receiver, 60).receive(Message::new(attributes, encoded)).await.unwrap();
    assert_eq!(kept.lock()[0].1, "abc".repeat(20));
}

/// A body of more than one block, so that there are cuts between blocks, and what it is compressed.
async fn two_blocks() -> (Vec<u8>, Published) {
    let topic = Kept::default();
    let body: Vec<u8> = (0..70_000_u32).map(|number| (number % 251) as u8).collect();
    publish(&Lz4Topic(topic.clone()), &[&body[..5], &body[5..]]).await;
    (body, topic.all().remove(0))
}

#[tokio::test]
async fn a_compressed_body_that_is_cut_off_anywhere_or_goes_on_behind_its_end_is_rejected() {
    let (_, whole) = two_blocks().await;
    let cut = (0..whole.body.len()).map(|length| whole.body[..length].to_vec());
    let longer = [[&whole.body[..], b"\0"].concat(), [&whole.body[..], &whole.body[..]].concat()];
    for encoded in cut.chain(longer) {
        let (kept, receiver) = keeping();
        let length = encoded.len();
        let message = Message::new(whole.attributes.clone(), encoded);
        let result = Lz4Receiver::new(receiver, 1 << 20).receive(message).await;
        assert_eq!(result.map_err(|error| error.reason()), Err(Reason::Rejected), "{length} of {}", whole.body.len());
        assert!(kept.lock().is_empty());
    }
}

#[tokio::test]
async fn a_compressed_body_that_was_changed_on_its_way_never_arrives_as_another() {
    let (body, whole) = two_blocks().await;
    let mut rejected = 0;
    for at in 0..whole.body.len() {
        let (kept, receiver) = keeping();
        let mut changed = whole.body.to_vec();
        changed[at] ^= 1;
        let message = Message::new(whole.attributes.clone(), changed);
        match Lz4Receiver::new(receiver, 1 << 20).receive(message).await {
            // The format has bits that mean nothing, such as half of the last byte before the literals at the end.
            Ok(()) => assert!(kept.lock()[0].1 == body, "byte {at}"),
            Err(error) => {
                assert_eq!(error.disposition(), Disposition::Reject, "{error}");
                rejected += 1;
            }
        }
    }
    assert!(rejected > whole.body.len() * 9 / 10, "{rejected} of {}", whole.body.len());
}

#[tokio::test]
async fn an_encoding_of_the_publishers_own_is_told_again_after_decoding() {
    let topic = Kept::default();
    let mut writer = Lz4Topic(topic.clone()).new_writer();
    writer.attributes().set("content-encoding", "gzip");
    writer.write("zipped".into()).await.unwrap();
    writer.close().await.unwrap();
    let (kept, receiver) = keeping();
    // The second one must not take the message for its own.
    let receiver = Lz4Receiver::new(Lz4Receiver::new(receiver, 100), 100);
    receiver.receive(message(&topic.all()[0])).await.unwrap();
    let (attributes, body) = kept.lock().remove(0);
    assert_eq!((attributes.values("Content-Encoding"), &body[..]), (&["gzip".to_owned()][..], &b"zipped"[..]));
}

#[tokio::test]
async fn a_body_encoded_twice_is_decoded_twice_and_not_more() {
    let topic = Kept::default();
    publish(&Base64Topic(Base64Topic(topic.clone())), &[b"aGVsbG8="]).await;
    let (kept, receiver) = keeping();
    let receiver = (0..3)
        .fold(Box::new(receiver) as Box<dyn Receiver>, |receiver, _| Box::new(Base64Receiver::new(receiver, 100)));
    receiver.receive(message(&topic.all()[0])).await.unwrap();
    assert_eq!(kept.lock()[0].1, "aGVsbG8=");
}

#[tokio::test]
async fn a_delay_reaches_through_every_decorator() {
    let topic = Kept::default();
    let mut writer = TracingTopic(Lz4Topic(Base64Topic(topic.clone()))).new_writer();
    writer.set_delay(Duration::from_secs(7));
    writer.close().await.unwrap();
    assert_eq!(topic.all()[0].delay, Duration::from_secs(7));
}

#[tokio::test]
async fn an_encoded_message_of_which_a_piece_was_refused_is_never_published() {
    let topic = Kept::default();
    let mut writer = Base64Topic(topic.clone()).new_writer();
    writer.write("a".into()).await.unwrap();
    let refused = writer.write(vec![0; 1 << 20].into()).await;
    assert!(matches!(refused, Err(WriteError::TooLarge { .. })), "{refused:?}");
    assert!(matches!(writer.write("b".into()).await, Err(WriteError::Closed)));
    assert!(matches!(writer.close().await, Err(WriteError::Closed)));
    assert!(topic.all().is_empty());
}

#[tokio::test]
async fn an_encoding_writer_that_is_dropped_unclosed_publishes_nothing() {
    let topic = Kept::default();
    let mut writer = TracingTopic(Lz4Topic(Base64Topic(topic.clone()))).new_writer();
    writer.write("hello".into()).await.unwrap();
    drop(writer);
    assert!(topic.all().is_empty());
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
