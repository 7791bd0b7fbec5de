//! Publishing: what a guest may write, within its grants and limits, goes to the outbox of its delivery.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use wasmpost_msg::{Attributes, Publication, attribute_fault, is_reserved};
use wasmtime::component::Resource;

use crate::bindings::wasmpost::messaging::topic::{Host, HostMessageWriter, PublishError};
use crate::bindings::wasmpost::messaging::types::Failure;
use crate::state::StoreState;

/// One message that a guest is writing.
#[allow(unreachable_pub)] // The generated bindings re-export it.
pub struct Writer {
    topic: String,
    attributes: Attributes,
    delay: Duration,
    body: BytesMut,
    closed: bool,
}

type AttributeList = Vec<(String, Vec<String>)>;
type Published<T = ()> = Result<T, PublishError>;

impl Host for StoreState {
    fn new_writer(&mut self, topic: String) -> wasmtime::Result<Published<Resource<Writer>>> {
        let topic = match self.may_publish(&topic) {
            Ok(topic) => topic,
            Err(refused) => return Ok(Err(refused)),
        };
        let writer = Writer {
            topic,
            attributes: Attributes::new(),
            delay: Duration::ZERO,
            body: BytesMut::new(),
            closed: false,
        };
        Ok(Ok(self.table.push(writer)?))
    }

    fn publish(&mut self, topic: String, attributes: AttributeList, body: Vec<u8>) -> wasmtime::Result<Published> {
        Ok(self.publish_now(&topic, attributes, body))
    }
}

impl HostMessageWriter for StoreState {
    fn set_attribute(&mut self, writer: Resource<Writer>, name: String, value: String) -> wasmtime::Result<Published> {
        self.change_attributes(&writer, &name, &value, |attributes| attributes.set(&name, &*value))
    }

    fn append_attribute(
        &mut self,
        writer: Resource<Writer>,
        name: String,
        value: String,
    ) -> wasmtime::Result<Published> {
        self.change_attributes(&writer, &name, &value, |attributes| attributes.append(&name, &*value))
    }

    fn set_delay(&mut self, writer: Resource<Writer>, delay: u64) -> wasmtime::Result<()> {
        self.table.get_mut(&writer)?.delay = Duration::from_nanos(delay);
        Ok(())
    }

    fn write(&mut self, writer: Resource<Writer>, chunk: Vec<u8>) -> wasmtime::Result<Published> {
        let max = self.shared.limits.publish_message_bytes.0;
        let found = self.table.get_mut(&writer)?;
        if found.closed {
            return Ok(Err(PublishError::Closed));
        }
        if found.body.len() as u64 + chunk.len() as u64 > max {
            return Ok(Err(PublishError::TooLarge(max)));
        }
        if let Err(refused) = self.charge_bytes(chunk.len()) {
            return Ok(Err(refused));
        }
        self.table.get_mut(&writer)?.body.extend_from_slice(&chunk);
        Ok(Ok(()))
    }

    fn close(&mut self, writer: Resource<Writer>) -> wasmtime::Result<Published> {
        let found = self.table.get_mut(&writer)?;
        if found.closed {
            return Ok(Err(PublishError::Closed));
        }
        found.closed = true;
        let (topic, delay) = (std::mem::take(&mut found.topic), found.delay);
        let (attributes, body) = (std::mem::take(&mut found.attributes), std::mem::take(&mut found.body).freeze());
        if let Err(refused) = self.charge_message(attributes.bytes()) {
            return Ok(Err(refused));
        }
        self.context.outbox().push(Publication { delay, ..Publication::new(topic, attributes, body) });
        Ok(Ok(()))
    }

    fn drop(&mut self, writer: Resource<Writer>) -> wasmtime::Result<()> {
        self.table.delete(writer)?;
        Ok(())
    }
}

impl StoreState {
    /// The topic that the guest means, as the host names it.
    fn may_publish(&self, topic: &str) -> Published<String> {
        if let Some(topic) = self.shared.grants.publish_to(topic) {
            return Ok(topic);
        }
        let (receiver, id) = (&*self.shared.name, self.context.id());
        tracing::warn!(receiver, id, topic = %topic.escape_debug(), "publishing denied: no grant for the topic");
        Err(PublishError::Denied(format!("no grant to publish to topic {topic:?}")))
    }

    /// Checks one message and puts it into the outbox.
    pub(crate) fn publish_now(&mut self, topic: &str, given: AttributeList, body: Vec<u8>) -> Published {
        let topic = self.may_publish(topic)?;
        let max = self.shared.limits.publish_message_bytes.0;
        if body.len() as u64 > max {
            return Err(PublishError::TooLarge(max));
        }
        let mut attributes = Attributes::new();
        for (name, values) in &given {
            for value in values {
                self.check_attribute(&attributes, name, value)?;
                attributes.append(name, &**value);
            }
        }
        self.put_into_outbox(topic, attributes, body.into())
    }

    /// The same with attributes that were checked one by one. Those of the host are left out: they belong to the message
    /// that came in.
    pub(crate) fn publish_attributes(&mut self, topic: &str, mut attributes: Attributes, body: Bytes) -> Published {
        let topic = self.may_publish(topic)?;
        let max = self.shared.limits.publish_message_bytes.0;
        if body.len() as u64 > max {
            return Err(PublishError::TooLarge(max));
        }
        let reserved: Vec<_> =
            attributes.iter().filter(|(name, _)| is_reserved(name)).map(|(name, _)| name.to_owned()).collect();
        reserved.iter().for_each(|name| drop(attributes.remove(name)));
        self.put_into_outbox(topic, attributes, body)
    }

    /// Publishes what a component answers that knows no topics, to the topic that the operator chose.
    pub(crate) fn publish_output(&mut self, content_type: Option<&str>, body: Bytes) -> Result<(), Failure> {
        let Some(topic) = self.shared.output.clone() else { return Ok(()) };
        let mut attributes = Attributes::new();
        if let Some(content_type) = content_type {
            attributes.set("Content-Type", content_type);
        }
        let published = self.put_into_outbox(topic, attributes, body);
        published.map_err(|refused| Failure::Retry(format!("output was not published: {}", told(refused))))
    }

    /// Counts what a guest has the host hold for messages that it may send later.
    pub(crate) fn hold_bytes(&mut self, bytes: usize) -> Published {
        let max = self.shared.limits.publish_bytes;
        self.held_bytes = self.held_bytes.saturating_add(bytes as u64);
        if self.held_bytes > max.0 {
            return Err(self.refuse(format!("a delivery may make messages of {max}")));
        }
        Ok(())
    }

    fn put_into_outbox(&mut self, topic: String, attributes: Attributes, body: Bytes) -> Published {
        self.charge_bytes(body.len())?;
        self.charge_message(attributes.bytes())?;
        self.context.outbox().push(Publication::new(topic, attributes, body));
        Ok(())
    }

    fn change_attributes(
        &mut self,
        writer: &Resource<Writer>,
        name: &str,
        value: &str,
        change: impl FnOnce(&mut Attributes),
    ) -> wasmtime::Result<Published> {
        let found = self.table.get(writer)?;
        if found.closed {
            return Ok(Err(PublishError::Closed));
        }
        if let Err(refused) = self.check_attribute(&found.attributes, name, value) {
            return Ok(Err(refused));
        }
        change(&mut self.table.get_mut(writer)?.attributes);
        Ok(Ok(()))
    }

    /// Whether an attribute may be added to those that are there.
    pub(crate) fn check_attribute(&self, attributes: &Attributes, name: &str, value: &str) -> Published {
        let limits = &self.shared.limits;
        if let Some(fault) = attribute_fault(name, value) {
            return Err(PublishError::InvalidAttribute(fault));
        }
        let over = |what: &str, max: &dyn std::fmt::Display| {
            Err(PublishError::InvalidAttribute(format!("{what} over the limit of {max}")))
        };
        match () {
            () if name.len() as u64 > limits.attribute_name_bytes.0 => {
                over("attribute name", &limits.attribute_name_bytes)
            }
            () if value.len() as u64 > limits.attribute_value_bytes.0 => {
                over("attribute value", &limits.attribute_value_bytes)
            }
            () if attributes.len() as u64 >= u64::from(limits.attributes) && attributes.get(name).is_none() => {
                over("number of attributes", &limits.attributes)
            }
            () if (attributes.bytes() + name.len() + value.len()) as u64 > limits.attributes_bytes.0 => {
                over("attributes together", &limits.attributes_bytes)
            }
            () => Ok(()),
        }
    }

    fn charge_bytes(&mut self, bytes: usize) -> Published {
        let max = self.shared.limits.publish_bytes;
        let sum = self.published_bytes.saturating_add(bytes as u64);
        if sum > max.0 {
            return Err(self.refuse(format!("a delivery may publish {max}")));
        }
        self.published_bytes = sum;
        Ok(())
    }

    fn charge_message(&mut self, attributes_bytes: usize) -> Published {
        let max = self.shared.limits.publish_messages;
        if self.published_messages >= max {
            return Err(self.refuse(format!("a delivery may publish {max} messages")));
        }
        self.charge_bytes(attributes_bytes)?;
        self.published_messages += 1;
        Ok(())
    }

    /// Remembers the refusal: a guest that fails after it failed for the limit.
    fn refuse(&mut self, text: String) -> PublishError {
        self.publish_refused = true;
        PublishError::LimitExceeded(text)
    }
}

/// A refusal in words, for interfaces that have no better.
pub(crate) fn told(refused: PublishError) -> String {
    match refused {
        PublishError::Closed => "the message was sent before".to_owned(),
        PublishError::TooLarge(max) => format!("message is larger than {max} bytes"),
        PublishError::Denied(text) | PublishError::LimitExceeded(text) | PublishError::InvalidAttribute(text) => text,
    }
}
