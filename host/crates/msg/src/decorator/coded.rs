//! The parts that body encodings share: a mark in an attribute, a writer that encodes, a receiver that decodes.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::attributes::Attributes;
use crate::body::BodyError;
use crate::error::{Disposition, Reason, ReceiveError};
use crate::message::Message;
use crate::receiver::Receiver;
use crate::topic::{MessageWriter, WriteError};

/// An encoding of bodies.
pub(super) trait Encoding: Send + Sync + 'static {
    /// The attribute that marks an encoded message, and its value.
    const MARK: (&'static str, &'static str);

    type Encoder: Encoder;

    fn encoder() -> Self::Encoder;

    /// The most bytes that a body of `max` bytes has once it is encoded.
    fn encoded_bytes_max(max: usize) -> usize;

    /// The body, if it has at most `max` bytes.
    fn decode(encoded: &[u8], max: usize) -> Result<Vec<u8>, DecodeError>;
}

/// Encodes one body piece by piece.
pub(super) trait Encoder: Send {
    /// Takes more of the body, and gives the bytes that can be written now.
    fn push(&mut self, chunk: &[u8]) -> std::io::Result<Bytes>;

    /// The bytes to write at the end.
    fn finish(&mut self) -> std::io::Result<Bytes>;
}

pub(super) enum DecodeError {
    Malformed(String),
    TooLarge,
}

/// A writer that encodes what is written to it.
pub(super) struct EncodingWriter<E: Encoding> {
    inner: Box<dyn MessageWriter>,
    encoder: E::Encoder,
    closed: bool,
}

impl<E: Encoding> EncodingWriter<E> {
    pub(super) fn new(inner: Box<dyn MessageWriter>) -> Self {
        Self { inner, encoder: E::encoder(), closed: false }
    }

    /// Closes this writer for good unless all goes well: the encoder has let go of what was not forwarded, so a message
    /// without it would be broken. Not published at all is better.
    async fn forward(&mut self, encoded: std::io::Result<Bytes>) -> Result<(), WriteError> {
        self.closed = true;
        let encoded = encoded.map_err(|error| WriteError::Publish(Box::new(error)))?;
        if !encoded.is_empty() {
            self.inner.write(encoded).await?;
        }
        self.closed = false;
        Ok(())
    }
}

#[async_trait]
impl<E: Encoding> MessageWriter for EncodingWriter<E> {
    fn attributes(&mut self) -> &mut Attributes {
        self.inner.attributes()
    }

    fn set_delay(&mut self, delay: Duration) {
        self.inner.set_delay(delay);
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), WriteError> {
        if self.closed {
            return Err(WriteError::Closed);
        }
        let encoded = self.encoder.push(&chunk);
        self.forward(encoded).await
    }

    async fn close(&mut self) -> Result<(), WriteError> {
        if self.closed {
            return Err(WriteError::Closed);
        }
        let rest = self.encoder.finish();
        self.forward(rest).await?;
        self.closed = true;
        let (name, value) = E::MARK;
        // At the end, so that nothing the publisher sets meanwhile hides that the body is encoded; and behind what it
        // set, so that an encoding of its own is still told when this one is undone.
        self.inner.attributes().append(name, value);
        self.inner.close().await
    }
}

/// Hands a message to `receiver`, decoded if the last of its encodings is this one. The whole body is decoded first:
/// what is broken or has more than `max` bytes is rejected before the receiver sees, and acts on, any of it.
pub(super) async fn receive_decoded<E: Encoding>(
    receiver: &(impl Receiver + ?Sized),
    mut message: Message,
    max: usize,
) -> Result<(), ReceiveError> {
    let (name, value) = E::MARK;
    let mut marks = message.attributes.values(name).to_vec();
    if !marks.pop().is_some_and(|mark| mark.eq_ignore_ascii_case(value)) {
        return receiver.receive(message).await;
    }
    let too_large = || {
        let text = format!("body of encoding {value} is larger than {max} bytes");
        ReceiveError::new(Disposition::Reject, Reason::BodyTooLarge, text)
    };
    let encoded = message.body.collect(E::encoded_bytes_max(max)).await.map_err(|error| match error {
        BodyError::TooLarge { .. } => too_large(),
        BodyError::Read(error) => ReceiveError::retry(format!("body could not be read: {error}")),
    })?;
    let decoded = E::decode(&encoded, max).map_err(|error| match error {
        DecodeError::Malformed(fault) => ReceiveError::reject(format!("body is not {value}: {fault}")),
        DecodeError::TooLarge => too_large(),
    })?;
    // With its mark a decoder further in would take the body for encoded once more.
    message.attributes.set_all(name, marks);
    message.body = decoded.into();
    receiver.receive(message).await
}
