//! The body of a message: a reader of bytes that is read once.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

/// How much is read from a reader at a time, in bytes.
const CHUNK_BYTES: usize = 16 * 1024;

/// The body of a message. It is read once, in chunks or as a whole, and never without a bound.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::{Body, BodyError};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut body = Body::from("hello");
/// assert_eq!(body.chunk().await?.as_deref(), Some(&b"hello"[..]));
/// assert_eq!(body.chunk().await?, None);
///
/// let mut large = Body::from(vec![0; 100]);
/// assert!(matches!(large.collect(99).await, Err(BodyError::TooLarge { max: 99 })));
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Body(Source);

#[derive(Default)]
enum Source {
    #[default]
    Empty,
    Bytes(Bytes),
    Reader(Pin<Box<dyn AsyncRead + Send>>),
}

/// The error of a body that could not be collected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// There is more of it than the bound allows.
    #[error("body is larger than {max} bytes")]
    TooLarge {
        /// The bound, in bytes.
        max: usize,
    },
    /// Its source failed.
    #[error("body could not be read")]
    Read(#[from] io::Error),
}

impl Body {
    /// A body with nothing in it.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A body that is read from `reader` when it is asked for.
    ///
    /// # Examples
    ///
    /// ```
    /// use wasmpost_msg::Body;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut body = Body::from_reader(&b"from a file or a socket"[..]);
    /// assert_eq!(body.as_bytes(), None);
    /// assert_eq!(body.collect(1024).await?, "from a file or a socket");
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_reader(reader: impl AsyncRead + Send + 'static) -> Self {
        Self(Source::Reader(Box::pin(reader)))
    }

    /// The rest of the body, if it is in memory.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            Source::Empty => Some(&[]),
            Source::Bytes(bytes) => Some(bytes),
            Source::Reader(_) => None,
        }
    }

    /// The next bytes, or none at the end.
    ///
    /// # Errors
    ///
    /// That of the source, where it failed.
    pub async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        match &mut self.0 {
            Source::Empty => Ok(None),
            Source::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Source::Empty;
                Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
            }
            Source::Reader(reader) => {
                let mut buffer = BytesMut::with_capacity(CHUNK_BYTES);
                if reader.read_buf(&mut buffer).await? == 0 {
                    self.0 = Source::Empty;
                    return Ok(None);
                }
                Ok(Some(buffer.freeze()))
            }
        }
    }

    /// All that is left of the body, if that is at most `max` bytes. Afterwards the body is empty. A body that lies in
    /// memory and is larger stays as it is; what was read of any other is gone.
    ///
    /// # Errors
    ///
    /// [`BodyError::TooLarge`] where more than `max` bytes are left, and [`BodyError::Read`] where the source failed.
    pub async fn collect(&mut self, max: usize) -> Result<Bytes, BodyError> {
        if self.as_bytes().is_some_and(|bytes| bytes.len() > max) {
            return Err(BodyError::TooLarge { max });
        }
        let mut collected: Option<BytesMut> = None;
        let mut first = Bytes::new();
        while let Some(chunk) = self.chunk().await? {
            let so_far = collected.as_ref().map_or(first.len(), BytesMut::len);
            if so_far + chunk.len() > max {
                return Err(BodyError::TooLarge { max });
            }
            // One chunk, the usual case, is handed on without a copy.
            match &mut collected {
                Some(buffer) => buffer.extend_from_slice(&chunk),
                None if first.is_empty() => first = chunk,
                None => {
                    let mut buffer = BytesMut::from(first.as_ref());
                    buffer.extend_from_slice(&chunk);
                    collected = Some(buffer);
                }
            }
        }
        Ok(collected.map_or(first, BytesMut::freeze))
    }
}

impl AsyncRead for Body {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Source::Empty => Poll::Ready(Ok(())),
            Source::Bytes(bytes) => {
                let length = bytes.len().min(buf.remaining());
                buf.put_slice(&bytes.split_to(length));
                Poll::Ready(Ok(()))
            }
            Source::Reader(reader) => reader.as_mut().poll_read(cx, buf),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(if bytes.has_remaining() { Source::Bytes(bytes) } else { Source::Empty })
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl fmt::Debug for Body {
    /// Tells the kind and size, never the content: bodies do not belong into logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Empty => formatter.write_str("Body(empty)"),
            Source::Bytes(bytes) => write!(formatter, "Body({} bytes)", bytes.len()),
            Source::Reader(_) => formatter.write_str("Body(reader)"),
        }
    }
}
