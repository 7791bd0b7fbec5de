//! Messages, writers, receivers: what go-msg promised of them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::Kept;
use futures::future::BoxFuture;
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;
use wasmpost_msg::{
    Attributes, Body, BodyError, BufferedWriter, Context, Disposition, Message, MessageWriter, Reason, ReceiveError,
    Receiver, ReceiverFunc, SafeReceiver, Topic, TopicFunc, WriteError,
};

#[tokio::test]
async fn a_body_is_read_once() {
    let mut message = Message::new(Attributes::new(), "hello");
    assert_eq!(message.body.collect(10).await.unwrap(), "hello");
    assert!(message.body.collect(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_refused_whatever_its_source() {
    let reader = Body::from_reader(tokio::io::repeat(b'x'));
    for mut body in [Body::from("hello"), reader] {
        assert!(matches!(body.collect(4).await, Err(BodyError::TooLarge { max: 4 })));
    }
}

#[tokio::test]
async fn a_body_is_read_in_pieces_as_well() {
    for mut body in [Body::from_reader(&b"hello world"[..]), Body::from("hello world")] {
        let mut start = [0; 5];
        body.read_exact(&mut start).await.unwrap();
        assert_eq!((&start, body.collect(100).await.unwrap()), (b"hello", Bytes::from(" world")));
    }
}

#[tokio::test]
async fn dumping_a_body_leaves_it_to_be_read() {
    let mut message = Message::new(Attributes::new(), Body::from_reader(&b"hello"[..]));
    assert_eq!(message.dump_body(10).await.unwrap(), "hello");
    assert_eq!(message.body.collect(10).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_body_in_memory_that_was_too_large_to_dump_can_still_be_read() {
    let mut message = Message::new(Attributes::new(), "hello");
    assert!(matches!(message.dump_body(4).await, Err(BodyError::TooLarge { max: 4 })));
    assert_eq!(message.dump_body(5).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_cloned_body_is_a_second_reader_of_the_same_bytes() {
    let mut message = Message::new(Attributes::new(), Body::from_reader(&b"hello"[..]));
    let mut clone = message.clone_body(10).await.unwrap();
    assert_eq!(message.body.collect(10).await.unwrap(), "hello");
    assert_eq!(clone.collect(10).await.unwrap(), "hello");
}

#[test]
fn a_message_with_another_body_has_a_copy_of_the_attributes_and_the_same_delivery() {
    let mut parent = Message::new(Attributes::new(), "old");
    parent.context = Context::new("7", 3, CancellationToken::new());
    parent.attributes.set("tag", "one");
    let mut child = Message::with_body(&parent, "new");
    assert_eq!(child.attributes, parent.attributes);
    assert_eq!((child.context.id(), child.context.attempt()), ("7", 3));
    child.attributes.set("tag", "two");
    assert_eq!((parent.attributes.get("tag"), child.body.as_bytes()), (Some("one"), Some(&b"new"[..])));
}

#[tokio::test]
async fn what_is_written_becomes_a_message_when_the_writer_is_closed() {
    let topic = Kept::default();
    let mut writer = topic.new_writer();
    writer.attributes().set("tag", "one");
    writer.set_delay(Duration::from_secs(5));
    writer.write("hello ".into()).await.unwrap();
    writer.write("world".into()).await.unwrap();
    assert!(topic.all().is_empty(), "nothing is published before close");
    writer.close().await.unwrap();
    let published = topic.all();
    assert_eq!((published.len(), &published[0].body[..]), (1, &b"hello world"[..]));
    assert_eq!((published[0].attributes.get("Tag"), published[0].delay), (Some("one"), Duration::from_secs(5)));
}

#[tokio::test]
async fn a_closed_writer_refuses_to_write_and_to_close_and_publishes_nothing_again() {
    let topic = Kept::default();
    let mut writer = topic.new_writer();
    writer.close().await.unwrap();
    assert!(matches!(writer.write("late".into()).await, Err(WriteError::Closed)));
    assert!(matches!(writer.close().await, Err(WriteError::Closed)));
    assert_eq!(topic.all().len(), 1);
}

#[tokio::test]
async fn closing_without_a_body_publishes_an_empty_message() {
    let topic = Kept::default();
    topic.new_writer().close().await.unwrap();
    assert_eq!(topic.all().first().map(|published| published.body.len()), Some(0));
}

#[tokio::test]
async fn a_writer_that_is_dropped_unclosed_publishes_nothing() {
    let topic = Kept::default();
    let mut writer = topic.new_writer();
    writer.write("hello".into()).await.unwrap();
    drop(writer);
    assert!(topic.all().is_empty());
}

#[tokio::test]
async fn a_body_over_the_bound_of_its_topic_is_refused_and_the_writer_can_go_on() {
    let mut writer = BufferedWriter::new(4, async |_, body: Bytes, _| {
        assert_eq!(body, "four");
        Ok(())
    });
    assert!(matches!(writer.write("fivee".into()).await, Err(WriteError::TooLarge { max: 4 })));
    writer.write("four".into()).await.unwrap();
    writer.close().await.unwrap();
}

#[tokio::test]
async fn functions_are_receivers_and_topics() {
    let kept = Kept::default();
    let topic = TopicFunc({
        let kept = kept.clone();
        move || kept.new_writer()
    });
    topic.new_writer().close().await.unwrap();
    assert_eq!(kept.all().len(), 1);
    let receiver = ReceiverFunc(async |message: Message| match message.body.as_bytes() {
        Some(b"good") => Ok(()),
        _ => Err(ReceiveError::reject("bad")),
    });
    assert_eq!(receiver.receive(Message::new(Attributes::new(), "good")).await, Ok(()));
    assert!(receiver.receive(Message::new(Attributes::new(), "other")).await.is_err());
}

#[tokio::test]
async fn a_panic_becomes_an_error_that_tells_it() {
    let receiver = SafeReceiver(ReceiverFunc(async |message: Message| {
        match message.body.as_bytes() {
            Some(b"text") => panic!("out of cheese"),
            Some(b"format") => panic!("out of {}", message.context.id()),
            Some(b"other") => std::panic::panic_any(7),
            _ => {}
        }
        Ok(())
    }));
    for (body, told) in [("text", "out of cheese"), ("format", "out of tea"), ("other", "panicked")] {
        let context = Context::new("tea", 1, CancellationToken::new());
        let message = Message { context, ..Message::new(Attributes::new(), body) };
        let error = receiver.receive(message).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Panic);
        assert!(error.text().contains(told), "{error}");
    }
    assert_eq!(receiver.receive(Message::default()).await, Ok(()), "a receiver that panicked is used again");
}

#[tokio::test]
async fn a_panic_before_the_future_is_there_becomes_an_error_as_well() {
    struct Hasty;

    impl Receiver for Hasty {
        fn receive<'a: 'f, 'f>(&'a self, _: Message) -> BoxFuture<'f, Result<(), ReceiveError>> {
            panic!("too early")
        }
    }

    let error = SafeReceiver(Hasty).receive(Message::default()).await.unwrap_err();
    assert_eq!((error.reason(), error.disposition()), (Reason::Panic, Disposition::Retry));
}

#[tokio::test]
async fn a_message_that_could_not_be_published_is_an_error_and_its_writer_is_closed() {
    let fault = || WriteError::Publish("broker is down".into());
    let mut writer = BufferedWriter::new(4, async move |_, _, _| Err(fault()));
    assert!(matches!(writer.close().await, Err(WriteError::Publish(_))));
    assert!(matches!(writer.close().await, Err(WriteError::Closed)));
}

#[tokio::test]
async fn a_topic_is_used_from_many_tasks_at_once() {
    let topic = Kept::default();
    let writers = (0..100).map(|number| {
        let topic = topic.clone();
        tokio::spawn(async move {
            let mut writer = topic.new_writer();
            writer.write(format!("{number}:").into()).await.unwrap();
            tokio::task::yield_now().await;
            writer.write(number.to_string().into()).await.unwrap();
            writer.close().await.unwrap();
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let mut bodies: Vec<_> = topic.all().into_iter().map(|published| published.body).collect();
    let mut expected: Vec<_> = (0..100).map(|number| Bytes::from(format!("{number}:{number}"))).collect();
    bodies.sort();
    expected.sort();
    assert_eq!(bodies, expected);
}

#[test]
fn what_is_shown_of_a_body_does_not_tell_its_content() {
    let shown = format!("{:?}", Message::new(Attributes::new(), "secret"));
    assert!(shown.contains("6 bytes") && !shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn a_panic_takes_no_other_delivery_with_it() {
    let go = Arc::new(tokio::sync::Notify::new());
    let wait = Arc::new(tokio::sync::Notify::new());
    let receiver = Arc::new(SafeReceiver(ReceiverFunc({
        let go = Arc::clone(&go);
        let wait = Arc::clone(&wait);
        move |message: Message| {
            let go = Arc::clone(&go);
            let wait = Arc::clone(&wait);
            async move {
                assert_ne!(message.body.as_bytes(), Some(&b"bad"[..]));
                go.notify_one();
                wait.notified().await;
                Ok(())
            }
        }
    })));
    let good = tokio::spawn({
        let receiver = Arc::clone(&receiver);
        async move { receiver.receive(Message::new(Attributes::new(), "good")).await }
    });
    go.notified().await;
    assert!(receiver.receive(Message::new(Attributes::new(), "bad")).await.is_err());
    wait.notify_one();
    assert_eq!(good.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn what_is_published_through_a_message_waits_in_its_outbox() {
    let message = Message::default();
    let mut attributes_writer = message.context.topic("orders").new_writer();
    attributes_writer.attributes().set("ordering-key", "customer 7");
    attributes_writer.set_delay(Duration::from_secs(1));
    attributes_writer.close().await.unwrap();
    drop(message.context.topic("never").new_writer());
    let outbox = message.context.outbox().take();
    assert_eq!((outbox.len(), outbox[0].topic.as_str()), (1, "orders"));
    assert_eq!((outbox[0].key.as_deref(), outbox[0].delay), (Some("customer 7"), Duration::from_secs(1)));
    assert!(message.context.outbox().is_empty());
}

#[test]
fn the_words_for_reasons_stay_what_dead_letters_say_already() {
    let words = "failed attempts rejected panic trap cpu-limit memory-limit table-limit handle-limit publish-limit \
                 result-too-large result-count timeout body-too-large loop crash lease-expired shutdown host-busy host-fault";
    for word in words.split(' ') {
        assert_eq!(word.parse::<Reason>().map(Reason::as_str), Ok(word));
    }
}

#[test]
fn every_reason_is_read_as_it_is_written() {
    for reason in Reason::ALL {
        assert_eq!(reason.as_str().parse(), Ok(*reason));
    }
    assert!("no-reason".parse::<Reason>().unwrap_err().contains("no-reason"));
}
