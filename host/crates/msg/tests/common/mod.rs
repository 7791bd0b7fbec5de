//! A topic that keeps what is published to it, for the tests.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)] // Shared by several tests, which do not all use all of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use wasmpost_msg::{Attributes, BufferedWriter, MessageWriter, Topic, WriteError};

/// A published message.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    pub attributes: Attributes,
    pub body: Bytes,
    pub delay: Duration,
}

/// Keeps what is published.
#[derive(Clone, Default)]
pub struct Kept(pub Arc<Mutex<Vec<Published>>>);

impl Topic for Kept {
    fn new_writer(&self) -> Box<dyn MessageWriter> {
        let kept = Arc::clone(&self.0);
        Box::new(BufferedWriter::new(1 << 20, move |attributes, body, delay| async move {
            kept.lock().push(Published { attributes, body, delay });
            Ok(())
        }))
    }
}

impl Kept {
    pub fn all(&self) -> Vec<Published> {
        self.0.lock().clone()
    }
}

/// Publishes one message, written in pieces, and sees to it that its writer is closed afterwards.
pub async fn publish(topic: &dyn Topic, pieces: &[&[u8]]) {
    let mut writer = topic.new_writer();
    writer.attributes().set("tag", "kept");
    for piece in pieces {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    writer.close().await.unwrap();
    assert!(matches!(writer.close().await, Err(WriteError::Closed)));
    assert!(matches!(writer.write("x".into()).await, Err(WriteError::Closed)));
}
