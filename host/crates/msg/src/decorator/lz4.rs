//! Bodies compressed with LZ4, in its frame format. Marked by `Content-Encoding: lz4`.

use std::io::{self, Read, Write};

use async_trait::async_trait;
use bytes::Bytes;
use lz4_flex::frame::{FrameDecoder, FrameEncoder, FrameInfo};

use super::coded::{DecodeError, Encoder, Encoding, EncodingWriter, receive_decoded};
use crate::error::ReceiveError;
use crate::message::Message;
use crate::receiver::Receiver;
use crate::shown::counted;
use crate::topic::{MessageWriter, Topic};

/// A topic whose messages go on compressed.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::decorator::lz4::{Lz4Receiver, Lz4Topic};
/// use wasmpost_msg::{Context, Message, Receiver, ReceiverFunc, Topic};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let context = Context::default();
/// let mut writer = Lz4Topic(context.topic("notes")).new_writer();
/// writer.write("hello".into()).await?;
/// writer.close().await?;
/// let note = context.outbox().take().remove(0);
/// assert_eq!(note.attributes.get("Content-Encoding"), Some("lz4"));
///
/// // Takes decoded bodies of at most 1024 bytes.
/// let receiver = Lz4Receiver::new(
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
pub struct Lz4Topic<T>(pub T);

/// A receiver that gets compressed messages as they were before.
#[derive(Debug, Clone)]
pub struct Lz4Receiver<R> {
    receiver: R,
    body_bytes_max: usize,
}

impl<R> Lz4Receiver<R> {
    /// A decompressor in front of `receiver`. A few bytes can stand for very many: bodies of more than `body_bytes_max`
    /// bytes are rejected. No more than that is ever held, beside the blocks being decompressed (16 MiB in all at most).
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
        Frame(FrameEncoder::with_frame_info(FrameInfo::new().content_checksum(true), Vec::new()))
    }

    fn encoded_bytes_max(max: usize) -> usize {
        // Data that cannot be compressed is stored as it is, with 4 to 8 bytes for each block of 64 KiB or more.
        // Others' encoders may end blocks early: there is room for that.
        max.saturating_add(max / 64).saturating_add(64)
    }

    fn decode(encoded: &[u8], max: usize) -> Result<Vec<u8>, DecodeError> {
        let mut decoded = Vec::new();
        // The decoder takes a frame that is cut off between blocks for a shorter one. So a byte is put behind the frame:
        // it is left over when the frame ended there, and only then.
        let behind: &[u8] = &[0];
        let mut decoder = FrameDecoder::new(encoded.chain(behind)).take((max as u64).saturating_add(1));
        decoder.read_to_end(&mut decoded).map_err(|error| DecodeError::Malformed(error.to_string()))?;
        if decoded.len() > max {
            return Err(DecodeError::TooLarge);
        }
        let (frame, behind) = decoder.into_inner().into_inner().into_inner();
        match (frame.len(), behind.len()) {
            (0, 1) => Ok(decoded),
            (0, _) => Err(DecodeError::Malformed("it is cut off".into())),
            (left, _) => Err(DecodeError::Malformed(format!("{} after its end", counted(left, "byte")))),
        }
    }
}

impl Encoder for Frame {
    fn push(&mut self, chunk: &[u8]) -> io::Result<Bytes> {
        self.0.write_all(chunk)?;
        Ok(std::mem::take(self.0.get_mut()).into())
    }

    fn finish(&mut self) -> io::Result<Bytes> {
        self.0.try_finish()?;
        Ok(std::mem::take(self.0.get_mut()).into())
    }
}
