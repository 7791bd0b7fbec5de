//! The message being received.

use std::io::{BufRead, Read, Result as IoResult};

use crate::bindings::wasmpost::messaging::types;
use crate::publish::{MessageWriter, PublishError};

/// Names and their values, in order. Names are case-insensitive and canonicalised as MIME header keys.
pub type Attributes = Vec<(String, Vec<String>)>;

/// How much of a body is fetched ahead for readers of small pieces, in bytes.
const CHUNK_BYTES: u32 = 16 << 10;

/// The message being received. Its body is read once, in one piece or as from a file.
pub struct Message<'a> {
    lent: &'a types::Message,
    /// The part of the body that was fetched.
    chunk: Vec<u8>,
    /// How much of the chunk was read.
    read: usize,
}

impl<'a> Message<'a> {
    pub(crate) fn new(lent: &'a types::Message) -> Self {
        Self { lent, chunk: Vec::new(), read: 0 }
    }

    /// The same on every delivery of this message: the key for idempotent effects.
    pub fn id(&self) -> String {
        self.lent.id()
    }

    /// 1 on the first delivery.
    pub fn attempt(&self) -> u32 {
        self.lent.attempt()
    }

    /// All attributes.
    pub fn attributes(&self) -> Attributes {
        self.lent.attributes()
    }

    /// The first value of an attribute, or none.
    pub fn attribute(&self, name: &str) -> Option<String> {
        self.lent.attribute(name)
    }

    /// Publishes a message in answer to this one, once this one has been processed.
    pub fn publish(
        &self,
        topic: &str,
        attributes: &[(String, Vec<String>)],
        body: impl AsRef<[u8]>,
    ) -> Result<(), PublishError> {
        Ok(self.lent.publish(topic, attributes, body.as_ref())?)
    }

    /// A writer for one message to `topic` in answer to this one.
    pub fn new_writer(&self, topic: &str) -> Result<MessageWriter, PublishError> {
        Ok(MessageWriter(self.lent.new_writer(topic)?))
    }

    /// All that is left of the body.
    pub fn body(&mut self) -> Vec<u8> {
        let rest = self.lent.body();
        if self.read == self.chunk.len() {
            return rest;
        }
        let mut body = self.chunk.split_off(self.read);
        body.extend(rest);
        body
    }
}

impl Read for Message<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        let mut fetched = self.fill_buf()?;
        let read = fetched.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Message<'_> {
    fn fill_buf(&mut self) -> IoResult<&[u8]> {
        if self.read >= self.chunk.len() {
            (self.chunk, self.read) = (self.lent.read(CHUNK_BYTES), 0);
        }
        Ok(self.chunk.get(self.read..).unwrap_or_default())
    }

    fn consume(&mut self, bytes: usize) {
        self.read = self.chunk.len().min(self.read.saturating_add(bytes));
    }
}
