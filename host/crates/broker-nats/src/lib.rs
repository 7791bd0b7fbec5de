//! Messages on NATS JetStream: several hosts share their queues, and the host keeps the policy.
//!
//! Four streams carry everything. `S` is a work queue with a subject for each queue and partition; a message is stored
//! once for each queue that takes from its topic. `S_queues` tells which queue takes from which topics, `S_attempts`
//! what earlier attempts at a message came to, and `S_dead` keeps dead letters with their evidence.
//!
//! A queue has one consumer for messages without an ordering key, and one for each partition of the keys, which hands
//! out one message at a time. JetStream counts deliveries; what was a failure and what was not is kept beside it.
//!
//! [`NatsCoreBroker`] does without streams: at most once, nothing is kept.
//!
//! # Examples
//!
//! ```no_run
//! use wasmpost_broker_nats::{NatsBroker, NatsCoreBroker};
//! use wasmpost_delivery::{Access, Broker, QueueSpec};
//!
//! # async fn connect() -> Result<(), wasmpost_delivery::BrokerError> {
//! // Three replicas of each stream, on a server that asks for a password.
//! let access =
//!     Access { user: Some("host".into()), password: Some("hunter2".to_owned().into()), ..Access::default() };
//! let broker = NatsBroker::open("nats://localhost:4222/wasmpost?replicas=3", &access).await?;
//! let queue = broker.queue(QueueSpec::new("orders")).await?;
//! // Subjects without streams.
//! let core = NatsCoreBroker::open("nats-core://localhost:4222", &Access::default()).await?;
//! # drop((queue, core));
//! # Ok(())
//! # }
//! ```
//!
//! # Floors
//!
//! From the ground up: a module names those below its own floor, and beside it those in its parentheses.
//!
//! 1. `error` · `names` · `shelf`
//! 2. `envelope` · `options`
//! 3. `connect` · `streams`
//! 4. `arrival` (`consumers`, `hold`, `intake`, `record`, `stats`) · `bindings` (`intake`, `link`, `publish`) ·
//!    `broker` (`bindings`, `consumers`, `dead_letters`, `link`, `queue`, `stats`) · `consumers` (`link`) · `core` ·
//!    `dead_letters` (`broker`, `link`, `publish`) · `hold` (`dead_letters`, `link`, `record`) ·
//!    `intake` (`arrival`, `consumers`, `hold`, `lease`, `link`) · `lease` (`hold`) · `link` (`bindings`, `hold`) ·
//!    `publish` (`link`) · `queue` (`bindings`, `intake`, `link`) · `record` (`link`, `publish`) ·
//!    `stats` (`bindings`, `consumers`, `intake`, `link`)

mod arrival;
mod bindings;
mod broker;
mod connect;
mod consumers;
mod core;
mod dead_letters;
mod envelope;
mod error;
mod hold;
mod intake;
mod lease;
mod link;
mod names;
mod options;
mod publish;
mod queue;
mod record;
mod shelf;
mod stats;
mod streams;

pub use crate::core::NatsCoreBroker;
pub use broker::NatsBroker;
