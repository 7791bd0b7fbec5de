//! Bodies in base64, for ways that only take text. Marked by `Content-Transfer-Encoding: base64`.

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::coded::{DecodeError, Encoder, Encoding, EncodingWriter, receive_decoded};
use crate::error::ReceiveError;
use crate::message::Message;
use crate::receiver::Receiver;
use crate::topic::{MessageWriter, Topic};

/// A topic whose messages go on in base64.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::decorator::base64::{Base64Receiver, Base64Topic};
/// use wasmpost_msg::{Context, Message, Receiver, ReceiverFunc, Topic};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let context = Context::default();
/// let mut writer = Base64Topic(context.topic("notes")).new_writer();
/// writer.write("hello".into()).await?;
/// writer.close().await?;
/// let note = context.outbox().take().remove(0);
/// assert_eq!(note.attributes.get("Content-Transfer-Encoding"), Some("base64"));
///
/// // Takes decoded bodies of at most 1024 bytes.
/// let receiver = Base64Receiver::new(
///     ReceiverFunc(|mut message: Message| async move {
///         assert_eq!(message.dump_body(1024).await.unwrap(), "hello");
///         Ok(())
///     }),
///     1024,
/// );
/// receiver.receive(Message::new(note.attributes, note.body)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Base64Topic<T>(pub T);

/// A receiver that gets messages in base64 as they were before.
#[derive(Debug, Clone)]
pub struct Base64Receiver<R> {
    receiver: R,
    body_bytes_max: usize,
}

impl<R> Base64Receiver<R> {
    /// A decoder in front of `receiver`. Bodies of more than `body_bytes_max` bytes are rejected.
    pub fn new(receiver: R, body_bytes_max: usize) -> Self {
        Self { receiver, body_bytes_max }
    }
}

impl<T: Topic> Topic for Base64Topic<T> {
    fn new_writer(&self) -> Box<dyn MessageWriter> {
        Box::new(EncodingWriter::<Base64>::new(self.0.new_writer()))
    }
}

#[async_trait]
impl<R: Receiver> Receiver for Base64Receiver<R> {
    async fn receive(&self, message: Message) -> Result<(), ReceiveError> {
        receive_decoded::<Base64>(&self.receiver, message, self.body_bytes_max).await
    }
}

struct Base64;

/// Encodes whole groups of three bytes and keeps the rest for the next piece.
#[derive(Default)]
struct Groups {
    rest: Vec<u8>,
}

impl Encoding for Base64 {
    const MARK: (&'static str, &'static str) = ("Content-Transfer-Encoding", "base64");

    type Encoder = Groups;

    fn encoder() -> Groups {
        Groups::default()
    }

    fn encoded_bytes_max(max: usize) -> usize {
        let letters = max.div_ceil(3).saturating_mul(4);
        // Mail breaks lines, after 64 letters at the earliest, by two bytes.
        letters.saturating_add(letters.div_ceil(64).saturating_mul(2))
    }

    fn decode(encoded: &[u8], max: usize) -> Result<Vec<u8>, DecodeError> {
        // The decoded text is shorter than the encoded one, whose length was checked.
        let text: Vec<u8> = encoded.iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect();
        let decoded = STANDARD.decode(text).map_err(|error| DecodeError::Malformed(error.to_string()))?;
        if decoded.len() > max { Err(DecodeError::TooLarge) } else { Ok(decoded) }
    }
}

impl Encoder for Groups {
    fn push(&mut self, chunk: &[u8]) -> std::io::Result<Bytes> {
        self.rest.extend_from_slice(chunk);
        let whole = self.rest.len() - self.rest.len() % 3;
        Ok(STANDARD.encode(self.rest.drain(..whole).collect::<Vec<_>>()).into())
    }

    fn finish(&mut self) -> std::io::Result<Bytes> {
        Ok(STANDARD.encode(std::mem::take(&mut self.rest)).into())
    }
}
