//! Bodies compressed with LZ4, in its frame format. Marked by `Content-Encoding: lz4`.

use std::io::{self, Read, Write};

use async_trait::async_trait;
use bytes::Bytes;
use lz4_flex::frame::{FrameDecoder, FrameEncoder};

use super::coded::{DecodeError, Encoder, Encoding, EncodingWriter, receive_decoded};
use crate::{Message, MessageWriter, ReceiveError, Receiver, Topic};

/// A topic whose messages go on compressed.
#[derive(Debug, Clone)]
pub struct Lz4Topic<T>(pub T);

/// A receiver that gets compressed messages as they were before.
#[derive(Debug, Clone)]
pub struct Lz4Receiver<R> {
    receiver: R,
    body_bytes_max: usize,
}

impl<R> Lz4Receiver<R> {
    /// A decompressor in front of `receiver`. A few bytes can stand for very many: bodies of more than `body_bytes_max`
    /// bytes are rejected, and no more than that is ever held.
    pub fn new(receiver: R, body_bytes_max: usize) -> Self {
        Self { receiver, body_bytes_max }
    }
}

impl<T: Topic> Topic for Lz4Topic<T> {
    fn new_writer(&self) -> Box<dyn MessageWriter> {
        Box::new(EncodingWriter::<Lz4>::new(self.0.new_writer()))
    }
}

#[async_trait]
impl<R: Receiver> Receiver for Lz4Receiver<R> {
    async fn receive(&self, message: Message) -> Result<(), ReceiveError> {
        receive_decoded::<Lz4>(&self.receiver, message, self.body_bytes_max).await
    }
}

struct Lz4;

struct Frame(FrameEncoder<Vec<u8>>);

impl Encoding for Lz4 {
    const MARK: (&'static str, &'static str) = ("Content-Encoding", "lz4");

    type Encoder = Frame;

    fn encoder() -> Frame {
        Frame(FrameEncoder::new(Vec::new()))
    }

    fn decode(encoded: &[u8], max: usize) -> Result<Vec<u8>, DecodeError> {
        let mut decoded = Vec::new();
        // A frame decoder takes an empty input for an empty output; what was never encoded is not well-formed, though.
        if encoded.is_empty() {
            return Err(DecodeError::Malformed("it is empty".into()));
        }
        let read = FrameDecoder::new(encoded).take(max as u64 + 1).read_to_end(&mut decoded);
        read.map_err(|error| DecodeError::Malformed(error.to_string()))?;
        if decoded.len() > max { Err(DecodeError::TooLarge) } else { Ok(decoded) }
    }
}

impl Encoder for Frame {
    fn push(&mut self, chunk: &[u8]) -> io::Result<Bytes> {
        self.0.write_all(chunk)?;
        Ok(std::mem::take(self.0.get_mut()).into())
    }

    fn finish(&mut self) -> io::Result<Bytes> {
        // An empty body has written nothing yet, but is a frame as well.
        self.0.write_all(&[])?;
        self.0.try_finish()?;
        Ok(std::mem::take(self.0.get_mut()).into())
    }
}
