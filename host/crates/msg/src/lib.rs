//! Messages, receivers, servers and topics: the nouns that everything else in wasmpost is built on.
//!
//! A [`Message`] is [`Attributes`] and a [`Body`]. A [`Receiver`] processes one message and says with `Ok` that it was
//! processed. A [`Server`] hands messages to a receiver until it is shut down. A [`Topic`] hands out
//! [`MessageWriter`]s; what is written to one becomes a message when it is closed. Decorators ([`decorator`]) wrap
//! receivers and topics.
//!
//! This crate knows no broker, no WebAssembly and does no I/O.
//!
//! # Floors
//!
//! From the ground up: a module names those below its own floor, and beside it those in its parentheses.
//!
//! 1. `attributes` · `body` · `bounds` · `error` · `names` · `shown` · `within`
//! 2. `outbox` · `topic`
//! 3. `context`
//! 4. `message`
//! 5. `receiver`
//! 6. `decorator` · `server`
//! 7. `chain`

mod attributes;
mod body;
mod bounds;
mod chain;
mod context;
pub mod decorator;
mod error;
mod message;
mod names;
mod outbox;
mod receiver;
mod server;
mod shown;
mod topic;
mod within;

pub use attributes::{Attributes, canonical_name};
pub use body::{Body, BodyError};
pub use bounds::{ATTRIBUTE_VALUES_MAX, ATTRIBUTES_BYTES_MAX, BODY_BYTES_MAX, DELAY_MAX, delay_fault, id_fault};
pub use chain::{Chain, chain};
pub use context::{Component, Context, OutboxTopic, Usage};
pub use error::{Disposition, Reason, ReceiveError};
pub use message::{Batch, Message};
pub use names::{
    RESERVED_PREFIX, attribute_fault, is_reserved, qualified, tenant_name_fault, tenant_of, topic_name_fault,
};
pub use outbox::{ORDERING_KEY, Outbox, Publication};
pub use receiver::{Receiver, ReceiverFunc, SafeReceiver};
pub use server::{GraceExpired, ServeError, Server, ServerClosed};
pub use shown::{counted, cut, is_obeyed, shown};
pub use topic::{BufferedWriter, MessageWriter, Topic, TopicFunc, WriteError};
pub use within::within;
