//! The message: attributes, a body, and the delivery that it came with.

use bytes::Bytes;

use crate::attributes::Attributes;
use crate::body::{Body, BodyError};
use crate::context::Context;

/// A discrete message in a messaging system.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::{Attributes, Message};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let attributes = Attributes::from_iter([("content-type", "text/plain")]);
/// let mut message = Message::new(attributes, "hello");
/// assert_eq!(message.attributes.get("Content-Type"), Some("text/plain"));
/// assert_eq!(message.context.attempt(), 1);
/// assert_eq!(message.body.collect(1024).await?, "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Message {
    /// The metadata.
    pub attributes: Attributes,
    /// The content. It may be read while `receive` runs, and once.
    pub body: Body,
    /// The delivery that brought this message: its id, its attempt, its outbox.
    pub context: Context,
}

/// Several messages that a receiver gets in one call.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::{Attributes, Batch, Message, Receiver, ReceiverFunc};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let receiver = ReceiverFunc(|message: Message| async move {
///     println!("{:?}", message.attributes);
///     Ok(())
/// });
/// let messages = ["one", "two"].map(|body| Message::new(Attributes::new(), body));
/// let batch = Batch { messages: messages.into(), ..Batch::default() };
/// assert_eq!(receiver.receive_batch(batch).await, Ok(vec![Ok(()), Ok(())]));
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Batch {
    /// The messages.
    pub messages: Vec<Message>,
    /// Whether they were in a call that failed as a whole. Earlier calls may have left behind the reason for it, so that a
    /// receiver with a state begins with a new one.
    pub is_again: bool,
}

impl Message {
    /// A message that came with no delivery: it has an empty id and is the first attempt.
    pub fn new(attributes: Attributes, body: impl Into<Body>) -> Self {
        Self { attributes, body: body.into(), context: Context::default() }
    }

    /// A message with the attributes of `parent`, copied and not shared, the same delivery, and a new body.
    ///
    /// # Examples
    ///
    /// ```
    /// use wasmpost_msg::{Attributes, Message};
    ///
    /// let parent = Message::new(Attributes::from_iter([("language", "de")]), "Hallo");
    /// let message = Message::with_body(&parent, "hello");
    /// assert_eq!(message.attributes, parent.attributes);
    /// ```
    pub fn with_body(parent: &Message, body: impl Into<Body>) -> Self {
        Self { attributes: parent.attributes.clone(), body: body.into(), context: parent.context.clone() }
    }

    /// The whole body, at most `max` bytes of it. The message can still be read afterwards.
    ///
    /// # Errors
    ///
    /// [`BodyError::TooLarge`] where there are more than `max` bytes, and [`BodyError::Read`] where the source of the
    /// body failed.
    pub async fn dump_body(&mut self, max: usize) -> Result<Bytes, BodyError> {
        let bytes = self.body.collect(max).await?;
        self.body = bytes.clone().into();
        Ok(bytes)
    }

    /// A second reader of the same bytes, at most `max` of them. The message can still be read afterwards.
    ///
    /// # Errors
    ///
    /// [`BodyError::TooLarge`] where there are more than `max` bytes, and [`BodyError::Read`] where the source of the
    /// body failed.
    ///
    /// # Examples
    ///
    /// ```
    /// use wasmpost_msg::{Attributes, Message};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut message = Message::new(Attributes::new(), "hello");
    /// let mut second = message.clone_body(1024).await?;
    /// assert_eq!(second.collect(1024).await?, "hello");
    /// assert_eq!(message.body.collect(1024).await?, "hello");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn clone_body(&mut self, max: usize) -> Result<Body, BodyError> {
        self.dump_body(max).await.map(Body::from)
    }
}
