//! What may be published at all: names and sizes, checked the same way in front of every broker.

use wasmpost_msg::{Attributes, Publication, topic_name_fault};

use crate::{BrokerError, BrokerErrorKind};

/// The longest id or ordering key, in bytes.
const ID_BYTES_MAX: usize = 512;
/// The longest delay or time to live: ten years.
const SECONDS_MAX: u64 = 10 * 365 * 24 * 60 * 60;

/// The bounds of a publication.
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
        Self { body_bytes_max: 64 << 20, attributes_bytes_max: 256 << 10 }
    }
}

impl Admission {
    /// Says what is wrong with a publication, if something is.
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
            let (bytes, max) = (body.len(), self.body_bytes_max);
            return Some(format!("topic {topic:?}: body of {bytes} bytes is over the limit of {max} bytes"));
        }
        if attributes.bytes() > self.attributes_bytes_max {
            let (bytes, max) = (attributes.bytes(), self.attributes_bytes_max);
            return Some(format!("topic {topic:?}: attributes of {bytes} bytes are over the limit of {max} bytes"));
        }
        for (what, value) in [("id", id), ("key", key)] {
            if let Some(value) = value.as_deref().filter(|value| !fits_id(value)) {
                let shown: String = value.chars().take(40).collect();
                return Some(format!(
                    "{what} {shown:?} is not 1 to {ID_BYTES_MAX} bytes of text without control characters"
                ));
            }
        }
        for (what, duration) in [("delay", Some(publication.delay)), ("time to live", publication.ttl)] {
            if duration.is_some_and(|duration| duration.as_secs() > SECONDS_MAX) {
                return Some(format!("topic {topic:?}: {what} is over the limit of ten years"));
            }
        }
        attributes_fault(attributes)
    }
}

fn fits_id(value: &str) -> bool {
    !value.is_empty() && value.len() <= ID_BYTES_MAX && !value.chars().any(char::is_control)
}

fn attributes_fault(attributes: &Attributes) -> Option<String> {
    attributes.iter().find_map(|(name, values)| {
        if let Some(fault) = wasmpost_msg::attribute_fault(name, "") {
            return Some(fault);
        }
        values.iter().find_map(|value| wasmpost_msg::attribute_fault(name, value))
    })
}
