//! Publishing messages.

use std::fmt::{Display, Formatter};
use std::io::{Error, Result as IoResult, Write};
use std::time::Duration;

use crate::bindings::wasmpost::messaging::{topic, types};
use crate::failure::nanoseconds;

/// Why a message was not published.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// The writer was closed before.
    Closed,
    /// This component may not publish to this topic.
    Denied(String),
    /// The message is larger than this many bytes, the most that one may have.
    TooLarge(u64),
    /// This delivery published as much as it may.
    LimitExceeded(String),
    /// The name or value cannot be an attribute, or the name belongs to the host.
    InvalidAttribute(String),
}

/// Collects one message piece by piece. [`close`](Self::close) hands it over; dropped before, it publishes nothing.
///
/// Each write is a call of the host: put a [`BufWriter`](std::io::BufWriter) around it for many small pieces.
pub struct MessageWriter(pub(crate) types::MessageWriter);

/// Publishes a message once the receiver has returned ok. A receiver of batches publishes with
/// [`Message::publish`](crate::Message::publish) instead.
pub fn publish(topic: &str, attributes: &[(String, Vec<String>)], body: impl AsRef<[u8]>) -> Result<(), PublishError> {
    Ok(topic::publish(topic, attributes, body.as_ref())?)
}

impl MessageWriter {
    /// A writer for one message to `topic`. A receiver of batches makes it with
    /// [`Message::new_writer`](crate::Message::new_writer) instead.
    pub fn new(topic: &str) -> Result<Self, PublishError> {
        Ok(Self(topic::new_writer(topic)?))
    }

    /// Replaces the values of an attribute by one.
    pub fn set_attribute(&mut self, name: &str, value: &str) -> Result<(), PublishError> {
        Ok(self.0.set_attribute(name, value)?)
    }

    /// Adds a value behind those that the attribute has.
    pub fn append_attribute(&mut self, name: &str, value: &str) -> Result<(), PublishError> {
        Ok(self.0.append_attribute(name, value)?)
    }

    /// The message is not to be delivered before this time has passed.
    pub fn set_delay(&mut self, delay: Duration) {
        self.0.set_delay(nanoseconds(delay));
    }

    /// Ends the message, which is published once the receiver has returned ok. Nothing can be written afterwards.
    pub fn close(&mut self) -> Result<(), PublishError> {
        Ok(self.0.close()?)
    }
}

impl Write for MessageWriter {
    fn write(&mut self, bytes: &[u8]) -> IoResult<usize> {
        self.0.write(bytes).map_err(|error| Error::other(PublishError::from(error)))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> IoResult<()> {
        Ok(())
    }
}

impl From<types::PublishError> for PublishError {
    fn from(error: types::PublishError) -> Self {
        match error {
            types::PublishError::Closed => Self::Closed,
            types::PublishError::Denied(why) => Self::Denied(why),
            types::PublishError::TooLarge(most) => Self::TooLarge(most),
            types::PublishError::LimitExceeded(why) => Self::LimitExceeded(why),
            types::PublishError::InvalidAttribute(why) => Self::InvalidAttribute(why),
        }
    }
}

impl Display for PublishError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => formatter.write_str("not published: the writer was closed before"),
            Self::TooLarge(most) => write!(formatter, "not published: larger than {most} bytes"),
            Self::Denied(why) | Self::LimitExceeded(why) | Self::InvalidAttribute(why) => {
                write!(formatter, "not published: {why}")
            }
        }
    }
}

impl std::error::Error for PublishError {}
