//! The message: attributes, a body, and the delivery that it came with.

use bytes::Bytes;

use crate::attributes::Attributes;
use crate::body::{Body, BodyError};
use crate::context::Context;

/// A discrete message in a messaging system.
#[derive(Debug, Default)]
pub struct Message {
    /// The metadata.
    pub attributes: Attributes,
    /// The content. It may be read while `receive` runs, and once.
    pub body: Body,
    /// The delivery that brought this message: its id, its attempt, its outbox.
    pub context: Context,
}

impl Message {
    /// A message that came with no delivery: it has an empty id and is the first attempt.
    pub fn new(attributes: Attributes, body: impl Into<Body>) -> Self {
        Self { attributes, body: body.into(), context: Context::default() }
    }

    /// A message with the attributes of `parent`, copied and not shared, the same delivery, and a new body.
    pub fn with_body(parent: &Message, body: impl Into<Body>) -> Self {
        Self { attributes: parent.attributes.clone(), body: body.into(), context: parent.context.clone() }
    }

    /// The whole body, at most `max` bytes of it. The message can still be read afterwards.
    pub async fn dump_body(&mut self, max: usize) -> Result<Bytes, BodyError> {
        let bytes = self.body.collect(max).await?;
        self.body = bytes.clone().into();
        Ok(bytes)
    }

    /// A second reader of the same bytes, at most `max` of them. The message can still be read afterwards.
    pub async fn clone_body(&mut self, max: usize) -> Result<Body, BodyError> {
        self.dump_body(max).await.map(Body::from)
    }
}
