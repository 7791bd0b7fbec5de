//! Decorators: receivers and topics that wrap others and change what goes through.
//!
//! What a topic's decorator does to a message on its way out, the receiver's decorator of the same name undoes on its
//! way in. Both leave messages alone that are not marked as theirs. Where several are used, the topic's are applied from
//! the outside in, and the receiver's in the reverse order.

pub mod base64;
mod coded;
pub mod lz4;
pub mod tracing;
