//! Admission: names and sizes of messages, checked the same way in front of every broker.

use std::time::Duration;

use wasmpost_msg::{
    ATTRIBUTE_VALUES_MAX, ATTRIBUTES_BYTES_MAX, Attributes, BODY_BYTES_MAX, Publication, delay_fault, id_fault,
    topic_name_fault,
};

use crate::error::{BrokerError, BrokerErrorKind};

/// The bounds of a publication.
///
/// # Examples
///
/// ```
/// use wasmpost_delivery::{Admission, BrokerErrorKind};
/// use wasmpost_msg::{Attributes, Publication};
///
/// let admission = Admission { body_bytes_max: 4, ..Admission::default() };
/// assert!(admission.check(&Publication::new("orders", Attributes::new(), "1234")).is_ok());
/// let error = admission.check(&Publication::new("orders", Attributes::new(), "12345")).unwrap_err();
/// assert_eq!(error.kind(), BrokerErrorKind::Invalid);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// The largest body, in bytes.
    pub body_bytes_max: usize,
    /// The largest attributes of one message, names and values together, in bytes.
    pub attributes_bytes_max: usize,
}

impl Default for Admission {
    /// Bodies of 64 MiB and attributes of 256 KiB.
    fn default() -> Self {
        Self { body_bytes_max: BODY_BYTES_MAX, attributes_bytes_max: ATTRIBUTES_BYTES_MAX }
    }
}

impl Admission {
    /// Says what is wrong with a publication, if something is.
    ///
    /// # Errors
    ///
    /// `Invalid`, with what is wrong.
    pub fn check(&self, publication: &Publication) -> Result<(), BrokerError> {
        match self.fault(publication) {
            Some(fault) => Err(BrokerError::new(BrokerErrorKind::Invalid, fault)),
            None => Ok(()),
        }
    }

    fn fault(&self, publication: &Publication) -> Option<String> {
        let Publication { topic, body, attributes, id, key, .. } = publication;
        if let Some(fault) = topic_name_fault(topic) {
            return Some(fault);
        }
        if body.len() > self.body_bytes_max {
            let bytes = body.len();
            let max = self.body_bytes_max;
            return Some(format!("topic {topic:?}: body of {bytes} bytes is over the limit of {max} bytes"));
        }
        if attributes.bytes() > self.attributes_bytes_max {
            let bytes = attributes.bytes();
            let max = self.attributes_bytes_max;
            return Some(format!("topic {topic:?}: attributes of {bytes} bytes are over the limit of {max} bytes"));
        }
        if attributes.values_len() > ATTRIBUTE_VALUES_MAX {
            let values = attributes.values_len();
            return Some(format!(
                "topic {topic:?}: {values} values of attributes are over the limit of {ATTRIBUTE_VALUES_MAX}"
            ));
        }
        let named = [("id", id), ("key", key)];
        if let Some(fault) = named.iter().find_map(|(what, value)| id_fault(what, value.as_deref()?)) {
            return Some(fault);
        }
        let delays = [("delay", Some(publication.delay)), ("time to live", publication.ttl)];
        if let Some(fault) = delays.iter().find_map(|(what, delay)| delay_fault(what, (*delay)?)) {
            return Some(format!("topic {topic:?}: {fault}"));
        }
        if let Some(fault) = publication.ttl.and_then(|ttl| life_fault(publication.delay, ttl)) {
            return Some(format!("topic {topic:?}: {fault}"));
        }
        attributes_fault(attributes)
    }
}

/// A message that could never be delivered is refused, not taken and dropped.
fn life_fault(delay: Duration, ttl: Duration) -> Option<String> {
    if ttl.is_zero() {
        return Some("time to live is 0, so the message could never be delivered".into());
    }
    (delay >= ttl).then(|| {
        format!("delay of {delay:?} is not below the time to live of {ttl:?}, so the message could never be delivered")
    })
}

fn attributes_fault(attributes: &Attributes) -> Option<String> {
    attributes.iter().find_map(|(name, values)| {
        if let Some(fault) = wasmpost_msg::attribute_fault(name, "") {
            return Some(fault);
        }
        values.iter().find_map(|value| wasmpost_msg::attribute_fault(name, value))
    })
}
