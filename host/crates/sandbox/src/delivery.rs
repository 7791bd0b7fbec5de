//! What belongs to one delivery: what came in but for the body, its log, and what it may publish.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use wasmpost_msg::{Attributes, Context, Publication, attribute_fault, is_reserved};

use crate::bindings::wasmpost::messaging::topic::PublishError;
use crate::bindings::wasmpost::messaging::types::Failure;
use crate::log::GuestLog;
use crate::state::Shared;

/// One delivery, as far as guests can see and change it.
pub(crate) struct Delivery {
    pub(crate) shared: Arc<Shared>,
    pub(crate) context: Context,
    pub(crate) attributes: Attributes,
    pub(crate) log: Arc<GuestLog>,
    pub(crate) published_messages: u32,
    pub(crate) published_bytes: u64,
    /// What the host holds of messages that the guest makes and may send, as far as they do not count as published yet.
    pub(crate) held_bytes: u64,
    /// Whether the guest wanted to publish more than it may.
    pub(crate) publish_refused: bool,
    /// Whether it stands for the instance that has several messages, rather than for any of them.
    pub(crate) is_nobodys: bool,
}

/// One message that a guest is writing.
#[allow(unreachable_pub)] // The generated bindings re-export it.
pub struct Writer {
    topic: String,
    attributes: Attributes,
    delay: Duration,
    body: BytesMut,
    closed: bool,
}

pub(crate) type AttributeList = Vec<(String, Vec<String>)>;
pub(crate) type Published<T = ()> = Result<T, PublishError>;

impl Delivery {
    pub(crate) fn new(shared: &Arc<Shared>, context: Context, attributes: Attributes) -> Self {
        let (sink, name) = (Arc::clone(&shared.log), Arc::clone(&shared.name));
        Self {
            log: GuestLog::new(sink, name, context.clone(), &shared.limits),
            shared: Arc::clone(shared),
            context,
            attributes,
            published_messages: 0,
            published_bytes: 0,
            held_bytes: 0,
            publish_refused: false,
            is_nobodys: false,
        }
    }

    /// Turns to another message. What wrote to the log of this one goes on with that of the other.
    pub(crate) fn begin(&mut self, context: Context, attributes: Attributes) {
        self.log.begin(context.clone(), &self.shared.limits);
        (self.context, self.attributes) = (context, attributes);
        self.published_messages = 0;
        self.published_bytes = 0;
        self.held_bytes = 0;
    }

    pub(crate) fn new_writer(&self, topic: &str) -> Published<Writer> {
        let (attributes, body) = (Attributes::new(), BytesMut::new());
        Ok(Writer { topic: self.may_publish(topic)?, attributes, delay: Duration::ZERO, body, closed: false })
    }

    /// All attributes of the message that came in.
    pub(crate) fn attribute_list(&self) -> AttributeList {
        self.attributes.iter().map(|(name, values)| (name.to_owned(), values.to_vec())).collect()
    }

    /// The topic that the guest means, as the host names it.
    fn may_publish(&self, topic: &str) -> Published<String> {
        if self.is_nobodys {
            let text = "several messages may be in this instance: publish with the message that it is in answer to";
            return Err(PublishError::Denied(text.into()));
        }
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

impl Writer {
    pub(crate) fn set_attribute(&mut self, delivery: &Delivery, name: &str, value: &str) -> Published {
        self.check_attribute(delivery, name, value)?;
        self.attributes.set(name, value);
        Ok(())
    }

    pub(crate) fn append_attribute(&mut self, delivery: &Delivery, name: &str, value: &str) -> Published {
        self.check_attribute(delivery, name, value)?;
        self.attributes.append(name, value);
        Ok(())
    }

    fn check_attribute(&self, delivery: &Delivery, name: &str, value: &str) -> Published {
        if self.closed {
            return Err(PublishError::Closed);
        }
        delivery.check_attribute(&self.attributes, name, value)
    }

    pub(crate) fn set_delay(&mut self, nanoseconds: u64) {
        self.delay = Duration::from_nanos(nanoseconds);
    }

    pub(crate) fn write(&mut self, delivery: &mut Delivery, chunk: &[u8]) -> Published {
        let max = delivery.shared.limits.publish_message_bytes.0;
        if self.closed {
            return Err(PublishError::Closed);
        }
        if self.body.len() as u64 + chunk.len() as u64 > max {
            return Err(PublishError::TooLarge(max));
        }
        delivery.charge_bytes(chunk.len())?;
        self.body.extend_from_slice(chunk);
        Ok(())
    }

    pub(crate) fn close(&mut self, delivery: &mut Delivery) -> Published {
        if self.closed {
            return Err(PublishError::Closed);
        }
        self.closed = true;
        let (topic, attributes) = (std::mem::take(&mut self.topic), std::mem::take(&mut self.attributes));
        delivery.charge_message(attributes.bytes())?;
        let publication = Publication::new(topic, attributes, std::mem::take(&mut self.body).freeze());
        delivery.context.outbox().push(Publication { delay: self.delay, ..publication });
        Ok(())
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
