//! Decorators: receivers and topics that wrap others and change what goes through.
//!
//! The receiver's decorator undoes on the way in the change that the topic's decorator of the same name made on the way
//! out. Both leave messages alone that are not marked as theirs. Where several are used, the topic's are applied from
//! the outside in, and the receiver's in the reverse order.

pub mod base64;
mod coded;
pub mod lz4;
pub mod tracing;
