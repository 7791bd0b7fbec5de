//! Logging within a trace. Alone in its process: whether a place logs is decided once for all threads, and a
//! test without a log would decide it for this one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A fault fails the test.

mod common;

use std::sync::Arc;

use common::publish;
use parking_lot::Mutex;
use wasmpost_msg::decorator::tracing::{TracingReceiver, TracingTopic};
use wasmpost_msg::{Attributes, BufferedWriter, Message, MessageWriter, Receiver, ReceiverFunc, TopicFunc};

/// The log of a test, as JSON lines.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_is_logged_while_a_message_is_received_or_published_tells_its_trace() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let topic = TracingTopic(TopicFunc(|| -> Box<dyn MessageWriter> {
        Box::new(BufferedWriter::new(10, async |_, _, _| {
            tracing::info!("published");
            Ok(())
        }))
    }));
    let receiver = TracingReceiver(ReceiverFunc(async |_| {
        tracing::info!("received");
        publish(&topic, &[b"next"]).await;
        Ok(())
    }));
    let mut attributes = Attributes::new();
    attributes.set("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    receiver.receive(Message::new(attributes, "")).await.unwrap();
    let log = String::from_utf8(log.0.lock().clone()).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{log}");
    let received = &lines[0]["span"];
    let published = &lines[1]["span"];
    assert_eq!((&received["name"], &published["name"]), (&"receive".into(), &"publish".into()));
    assert_eq!((&received["otel.kind"], &published["otel.kind"]), (&"consumer".into(), &"producer".into()));
    assert_eq!(received["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(published["trace_id"], received["trace_id"]);
    assert_eq!(received["parent_id"], "00f067aa0ba902b7");
    let spans = [&received["parent_id"], &received["span_id"], &published["span_id"]];
    assert!(spans[0] != spans[1] && spans[1] != spans[2] && spans[1].as_str().unwrap().len() == 16, "{spans:?}");
}
