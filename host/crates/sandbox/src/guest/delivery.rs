//! The state of one delivery: the message without its body, the log, and the budget for publishing.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use wasmpost_msg::{
    ATTRIBUTE_VALUES_MAX, ATTRIBUTES_BYTES_MAX, Attributes, BODY_BYTES_MAX, Context, ORDERING_KEY, Publication,
    attribute_fault, delay_fault, id_fault, is_reserved,
};

use super::audit::{Denied, short};
use super::bindings::wasmpost::messaging::types::{Failure, PublishError};
use super::log::GuestLog;
use super::state::Shared;
use crate::limits::Work;

/// One delivery, as far as guests can see and change it.
pub(crate) struct DeliveryState {
    pub(crate) shared: Arc<Shared>,
    pub(crate) context: Context,
    pub(crate) attributes: Attributes,
    pub(crate) log: Arc<GuestLog>,
    pub(crate) work: Arc<Work>,
    pub(crate) published_messages: u32,
    pub(crate) published_bytes: u64,
    /// The bytes that the host holds of messages that the guest composes, as far as they do not count as published yet.
    pub(crate) held_bytes: u64,
    /// Whether the guest wanted to publish more than it may.
    pub(crate) publish_refused: bool,
    /// How often the guest was refused a topic for want of a grant.
    refusals: u32,
    /// Whether it stands for the instance that has several messages, or for a call with several, rather than for any of
    /// them.
    pub(crate) is_nobodys: bool,
}

/// One message that a guest is writing.
pub(crate) struct Writer {
    topic: String,
    attributes: Attributes,
    delay: Duration,
    body: BytesMut,
    closed: bool,
}

/// The bytes that a value of an attribute counts beside its own: the overhead of keeping it.
const VALUE_BYTES: usize = 24;

pub(crate) type AttributeList = Vec<(String, Vec<String>)>;
pub(crate) type Published<T = ()> = Result<T, PublishError>;

impl DeliveryState {
    pub(crate) fn new(shared: &Arc<Shared>, context: Context, attributes: Attributes) -> Self {
        let sink = Arc::clone(&shared.log);
        let name = Arc::clone(&shared.name);
        let work = Arc::default();
        Self {
            log: GuestLog::new(sink, name, &work, context.clone(), &shared.limits),
            work,
            shared: Arc::clone(shared),
            context,
            attributes,
            published_messages: 0,
            published_bytes: 0,
            held_bytes: 0,
            publish_refused: false,
            refusals: 0,
            is_nobodys: false,
        }
    }

    /// Turns to another message. Its log continues in place of the previous one.
    pub(crate) fn begin(&mut self, context: Context, attributes: Attributes) {
        self.work.reset();
        self.log.begin(context.clone(), &self.shared.limits, 1);
        (self.context, self.attributes) = (context, attributes);
        self.published_messages = 0;
        self.published_bytes = 0;
        self.held_bytes = 0;
        self.publish_refused = false;
        self.refusals = 0;
    }

    /// Stands for a call with so many messages from now on: what belongs to none of them is logged here.
    pub(crate) fn begin_call(&mut self, messages: u32) {
        self.begin(Context::default(), Attributes::new());
        self.log.begin(Context::default(), &self.shared.limits, messages);
        self.is_nobodys = true;
    }

    pub(crate) fn new_writer(&mut self, topic: &str) -> Published<Writer> {
        self.work.call(topic.len());
        let attributes = Attributes::new();
        let body = BytesMut::new();
        Ok(Writer { topic: self.may_publish(topic)?, attributes, delay: Duration::ZERO, body, closed: false })
    }

    /// All attributes of the message that came in.
    pub(crate) fn attribute_list(&self) -> AttributeList {
        let Self { attributes, work, .. } = self;
        work.call(attributes.bytes() + attributes.len() + attributes.values_len());
        self.attributes.iter().map(|(name, values)| (name.to_owned(), values.to_vec())).collect()
    }

    /// The first value of an attribute of the message that came in.
    pub(crate) fn attribute(&self, name: &str) -> Option<String> {
        let value = self.attributes.get(name);
        self.work.call(name.len() + value.map_or(0, str::len));
        value.map(str::to_owned)
    }

    /// The id of the message that came in.
    pub(crate) fn id(&self) -> String {
        self.work.call(self.context.id().len());
        self.context.id().to_owned()
    }

    /// The number of the attempt to process it.
    pub(crate) fn attempt(&self) -> u32 {
        self.work.call(0);
        self.context.attempt()
    }

    /// Whether the guest was refused topics more often than it may be.
    pub(crate) fn is_flooded(&self) -> bool {
        self.refusals > self.shared.limits.refusals
    }

    /// Hands a result to the guest, unless it was refused too often: then its call ends.
    pub(crate) fn unless_flooded<T>(&self, result: T) -> wasmtime::Result<T> {
        if self.is_flooded() { Err(wasmtime::Error::msg("guest was refused too many publishes")) } else { Ok(result) }
    }

    /// The topic that the guest means, as the host names it.
    fn may_publish(&mut self, topic: &str) -> Published<String> {
        if self.is_nobodys {
            let text = "topic.publish and topic.new-writer belong to none of several messages: publish through the message \
                that it is in answer to";
            return Err(PublishError::Denied(text.into()));
        }
        if let Some(topic) = self.shared.grants.publish_to(topic) {
            return Ok(topic);
        }
        self.refusals = self.refusals.saturating_add(1);
        self.log.denied(&Denied::Topic(topic));
        Err(PublishError::Denied(format!("no grant to publish to topic {:?}", short(topic))))
    }

    /// Checks one message and puts it into the outbox.
    pub(crate) fn publish_now(&mut self, topic: &str, given: AttributeList, body: impl Into<Bytes>) -> Published {
        let body = body.into();
        self.work.call(topic.len() + body.len());
        let topic = self.may_publish(topic)?;
        self.check_body(body.len())?;
        let attributes = self.checked(&given)?;
        self.put_into_outbox(topic, attributes, body)
    }

    /// The attributes of a list, if a message may have them.
    pub(crate) fn checked(&self, given: &AttributeList) -> Published<Attributes> {
        // A name takes time even if it has no value.
        if given.len() > ATTRIBUTE_VALUES_MAX {
            return Err(over("number of attributes", &ATTRIBUTE_VALUES_MAX));
        }
        let mut attributes = Attributes::new();
        for (name, values) in given {
            for value in values {
                self.check_attribute(&attributes, name, value)?;
                attributes.append(name, &**value);
            }
        }
        Ok(attributes)
    }

    /// The same with attributes that were checked one by one, or came in with the message. Those of the host are left
    /// out: they belong to the message that came in.
    pub(crate) fn publish_attributes(&mut self, topic: &str, mut attributes: Attributes, body: Bytes) -> Published {
        self.work.call(topic.len() + attributes.bytes() + attributes.values_len());
        let topic = self.may_publish(topic)?;
        self.check_body(body.len())?;
        attributes.retain(|name| !is_reserved(name));
        let fault_of = |(name, values): (&str, &[String])| values.iter().find_map(|value| pair_fault(name, value));
        if let Some(fault) = attributes.iter().find_map(fault_of) {
            return Err(PublishError::InvalidAttribute(fault));
        }
        self.put_into_outbox(topic, attributes, body)
    }

    fn check_body(&self, bytes: usize) -> Published {
        let max = self.shared.limits.publish_message_bytes.0.min(BODY_BYTES_MAX as u64);
        if bytes as u64 > max { Err(PublishError::TooLarge(max)) } else { Ok(()) }
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
        // Whatever the broker would refuse once the guest is done is refused here, where the guest can act on it.
        if attributes.values_len() > ATTRIBUTE_VALUES_MAX {
            return Err(over("number of values", &ATTRIBUTE_VALUES_MAX));
        }
        if attributes.bytes() > ATTRIBUTES_BYTES_MAX {
            return Err(over("attributes together", &ATTRIBUTES_BYTES_MAX));
        }
        self.charge_bytes(body.len())?;
        self.charge_bytes(cost(attributes.bytes(), attributes.values_len()))?;
        self.charge_message()?;
        self.context.outbox().push(Publication::new(topic, attributes, body));
        Ok(())
    }

    /// The bytes that an attribute adds, if it may be added.
    pub(crate) fn check_attribute(&self, attributes: &Attributes, name: &str, value: &str) -> Published<usize> {
        let limits = &self.shared.limits;
        self.work.call(name.len() + value.len());
        // Lengths come first: what is longer is not even looked at.
        if name.len() as u64 > limits.attribute_name_bytes.0 {
            return Err(over("attribute name", &limits.attribute_name_bytes));
        }
        if value.len() as u64 > limits.attribute_value_bytes.0 {
            return Err(over("attribute value", &limits.attribute_value_bytes));
        }
        if let Some(fault) = pair_fault(name, value) {
            return Err(PublishError::InvalidAttribute(fault));
        }
        let is_new = attributes.get(name).is_none();
        if is_new && attributes.len() as u64 >= u64::from(limits.attributes) {
            return Err(over("number of attributes", &limits.attributes));
        }
        if attributes.values_len() >= ATTRIBUTE_VALUES_MAX {
            return Err(over("number of values", &ATTRIBUTE_VALUES_MAX));
        }
        let together = attributes.bytes() + name.len() + value.len();
        if together as u64 > limits.attributes_bytes.0 || together > ATTRIBUTES_BYTES_MAX {
            return Err(over("attributes together", &limits.attributes_bytes));
        }
        Ok(cost(value.len() + if is_new { name.len() } else { 0 }, 1))
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

    fn charge_message(&mut self) -> Published {
        let max = self.shared.limits.publish_messages;
        if self.published_messages >= max {
            return Err(self.refuse(format!("a delivery may publish {max} messages")));
        }
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
    pub(crate) fn set_attribute(&mut self, delivery: &mut DeliveryState, name: &str, value: &str) -> Published {
        self.admit_attribute(delivery, name, value)?;
        self.attributes.set(name, value);
        Ok(())
    }

    pub(crate) fn append_attribute(&mut self, delivery: &mut DeliveryState, name: &str, value: &str) -> Published {
        self.admit_attribute(delivery, name, value)?;
        self.attributes.append(name, value);
        Ok(())
    }

    /// Counts an attribute at once: a guest can have many writers, and the host holds what is in them.
    fn admit_attribute(&self, delivery: &mut DeliveryState, name: &str, value: &str) -> Published {
        if self.closed {
            return Err(PublishError::Closed);
        }
        let cost = delivery.check_attribute(&self.attributes, name, value)?;
        delivery.charge_bytes(cost)
    }

    pub(crate) fn set_delay(&mut self, delivery: &DeliveryState, nanoseconds: u64) {
        delivery.work.call(0);
        self.delay = Duration::from_nanos(nanoseconds);
    }

    pub(crate) fn write(&mut self, delivery: &mut DeliveryState, chunk: &[u8]) -> Published {
        delivery.work.call(chunk.len());
        if self.closed {
            return Err(PublishError::Closed);
        }
        delivery.check_body(self.body.len().saturating_add(chunk.len()))?;
        delivery.charge_bytes(chunk.len())?;
        self.body.extend_from_slice(chunk);
        Ok(())
    }

    pub(crate) fn close(&mut self, delivery: &mut DeliveryState) -> Published {
        delivery.work.call(0);
        if self.closed {
            return Err(PublishError::Closed);
        }
        if let Some(fault) = delay_fault("delay", self.delay) {
            return Err(PublishError::LimitExceeded(fault));
        }
        self.closed = true;
        let topic = std::mem::take(&mut self.topic);
        let attributes = std::mem::take(&mut self.attributes);
        delivery.charge_message()?;
        let publication = Publication::new(topic, attributes, std::mem::take(&mut self.body).freeze());
        delivery.context.outbox().push(Publication { delay: self.delay, ..publication });
        Ok(())
    }
}

/// The bytes that values of attributes take in the host, however short they are.
fn cost(bytes: usize, values: usize) -> usize {
    bytes.saturating_add(values.saturating_mul(VALUE_BYTES))
}

/// The reason why a message cannot have this value under this name, if there is one.
fn pair_fault(name: &str, value: &str) -> Option<String> {
    attribute_fault(name, value).or_else(|| {
        let is_key = name.eq_ignore_ascii_case(ORDERING_KEY) && !value.is_empty();
        if is_key { id_fault("ordering key", value) } else { None }
    })
}

fn over(what: &str, max: &dyn std::fmt::Display) -> PublishError {
    PublishError::InvalidAttribute(format!("{what} over the limit of {max}"))
}

/// A refusal in words, for interfaces that have no better.
pub(crate) fn told(refused: PublishError) -> String {
    match refused {
        PublishError::Closed => "the message was sent before".to_owned(),
        PublishError::TooLarge(max) => format!("message is larger than {max} bytes"),
        PublishError::Denied(text) | PublishError::LimitExceeded(text) | PublishError::InvalidAttribute(text) => text,
    }
}
