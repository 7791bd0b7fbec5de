//! Topics and the writers they hand out.

use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;

use crate::attributes::Attributes;

/// A topic, to which messages are written. It may be used from many tasks at once.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::{Context, MessageWriter, Topic};
///
/// /// Writes a greeting to any topic.
/// async fn greet(topic: &dyn Topic) -> Result<(), wasmpost_msg::WriteError> {
///     let mut writer = topic.new_writer();
///     writer.attributes().set("content-type", "text/plain");
///     writer.write("hello, ".into()).await?;
///     writer.write("world".into()).await?;
///     writer.close().await
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let context = Context::default();
/// greet(&context.topic("greetings")).await?;
/// assert_eq!(context.outbox().take()[0].body, "hello, world");
/// # Ok(())
/// # }
/// ```
pub trait Topic: Send + Sync {
    /// A writer for one message.
    fn new_writer(&self) -> Box<dyn MessageWriter>;
}

/// An adapter to use an ordinary function as a [`Topic`].
///
/// # Examples
///
/// ```
/// use wasmpost_msg::{BufferedWriter, MessageWriter, Topic, TopicFunc};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Bodies have at most 1024 bytes.
/// let topic = TopicFunc(|| -> Box<dyn MessageWriter> {
///     Box::new(BufferedWriter::new(1024, |_attributes, body, _delay| async move {
///         println!("{} bytes", body.len());
///         Ok(())
///     }))
/// });
/// topic.new_writer().close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct TopicFunc<F>(pub F);

/// Collects one message. Dropped unclosed, nothing was published.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use wasmpost_msg::{Context, MessageWriter, Topic, WriteError};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let context = Context::default();
/// let mut writer = context.topic("reminders").new_writer();
/// writer.set_delay(Duration::from_secs(60));
/// writer.write("wake up".into()).await?;
/// writer.close().await?;
/// assert!(matches!(writer.close().await, Err(WriteError::Closed)));
/// assert_eq!(context.outbox().len(), 1);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait MessageWriter: Send {
    /// The attributes that go with the message when it is closed.
    fn attributes(&mut self) -> &mut Attributes;

    /// The message is not to be delivered before `delay` has passed; zero means no delay.
    fn set_delay(&mut self, delay: Duration);

    /// Adds `chunk` to the body.
    ///
    /// # Errors
    ///
    /// [`WriteError::Closed`] after `close`, [`WriteError::TooLarge`] where the body would get larger than the topic
    /// takes, and [`WriteError::Publish`] where a decorator cannot encode it.
    async fn write(&mut self, chunk: Bytes) -> Result<(), WriteError>;

    /// Ends the message and forwards it, with an empty body where nothing was written. Afterwards `write` and `close`
    /// return [`WriteError::Closed`].
    ///
    /// # Errors
    ///
    /// [`WriteError::Closed`] after a first `close`, and [`WriteError::Publish`] where the message could not be
    /// forwarded. It was not published then.
    async fn close(&mut self) -> Result<(), WriteError>;
}

/// The error of a message that could not be written.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::{ReceiveError, WriteError};
///
/// /// The failure of a receiver that could not publish.
/// fn failure(error: &WriteError) -> ReceiveError {
///     match error {
///         WriteError::TooLarge { max } => ReceiveError::reject(format!("the answer has more than {max} bytes")),
///         error => ReceiveError::retry(error.to_string()),
///     }
/// }
///
/// assert_eq!(failure(&WriteError::TooLarge { max: 4 }).to_string(), "rejected: the answer has more than 4 bytes");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The writer was closed before.
    #[error("message writer is closed")]
    Closed,
    /// The body is larger than the topic takes.
    #[error("body is larger than {max} bytes")]
    TooLarge {
        /// The bound, in bytes.
        max: usize,
    },
    /// The message could not be forwarded.
    #[error("message was not published")]
    Publish(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A writer that keeps the body in memory up to a bound and hands the whole message to a function when it is closed.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::{BufferedWriter, MessageWriter, WriteError};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut writer = BufferedWriter::new(4, |_, _, _| async { Ok(()) });
/// writer.write("1234".into()).await?;
/// assert!(matches!(writer.write("5".into()).await, Err(WriteError::TooLarge { max: 4 })));
/// # Ok(())
/// # }
/// ```
pub struct BufferedWriter<P> {
    attributes: Attributes,
    delay: Duration,
    body: BytesMut,
    body_bytes_max: usize,
    publish: Option<P>,
}

impl<F: Fn() -> Box<dyn MessageWriter> + Send + Sync> Topic for TopicFunc<F> {
    fn new_writer(&self) -> Box<dyn MessageWriter> {
        (self.0)()
    }
}

impl<T: Topic + ?Sized> Topic for std::sync::Arc<T> {
    fn new_writer(&self) -> Box<dyn MessageWriter> {
        (**self).new_writer()
    }
}

type PublishFn = Box<dyn FnOnce(Attributes, Bytes, Duration) -> BoxFuture<'static, Result<(), WriteError>> + Send>;

impl BufferedWriter<PublishFn> {
    /// A writer for a body of at most `body_bytes_max` bytes, whose message is handed to `publish`.
    pub fn new<F, T>(body_bytes_max: usize, publish: F) -> Self
    where
        F: FnOnce(Attributes, Bytes, Duration) -> T + Send + 'static,
        T: Future<Output = Result<(), WriteError>> + Send + 'static,
    {
        let publish: PublishFn = Box::new(move |attributes, body, delay| Box::pin(publish(attributes, body, delay)));
        let attributes = Attributes::new();
        let delay = Duration::ZERO;
        let body = BytesMut::new();
        Self { attributes, delay, body, body_bytes_max, publish: Some(publish) }
    }
}

#[async_trait]
impl MessageWriter for BufferedWriter<PublishFn> {
    fn attributes(&mut self) -> &mut Attributes {
        &mut self.attributes
    }

    fn set_delay(&mut self, delay: Duration) {
        self.delay = delay;
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), WriteError> {
        if self.publish.is_none() {
            return Err(WriteError::Closed);
        }
        if self.body.len().saturating_add(chunk.len()) > self.body_bytes_max {
            return Err(WriteError::TooLarge { max: self.body_bytes_max });
        }
        self.body.extend_from_slice(&chunk);
        Ok(())
    }

    async fn close(&mut self) -> Result<(), WriteError> {
        let publish = self.publish.take().ok_or(WriteError::Closed)?;
        let body = std::mem::take(&mut self.body).freeze();
        publish(std::mem::take(&mut self.attributes), body, self.delay).await
    }
}
