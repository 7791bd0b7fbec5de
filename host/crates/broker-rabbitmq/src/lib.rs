//! RabbitMQ as a broker: quorum queues, publisher confirms, and a topology that is declared or checked at start.
//!
//! A topic is an exchange, a queue a quorum queue that is bound to the exchanges of its topics. Everything of a message
//! but its body is in one header (`envelope.rs`). Delays are queues with a time to live, from which messages come back
//! into their own queue (`delay.rs`); dead letters are a queue beside it. The names of all of this are in `names.rs`.
//!
//! AMQP lists neither queues nor bindings: what there is is written in a message of its own (`catalogue.rs`), and
//! copied for those who only read it (`copy.rs`).
//!
//! # Examples
//!
//! ```no_run
//! use wasmpost_broker_rabbitmq::{RabbitBroker, RabbitOptions};
//! use wasmpost_delivery::{Access, Broker, QueueSpec};
//!
//! # async fn connect() -> Result<(), wasmpost_delivery::BrokerError> {
//! let access =
//!     Access { user: Some("host".into()), password: Some("hunter2".to_owned().into()), ..Access::default() };
//! let options = RabbitOptions { access, ..RabbitOptions::default() };
//! let broker = RabbitBroker::open("amqp://localhost:5672/wasmpost", options).await?;
//! let queue = broker.queue(QueueSpec::new("orders")).await?;
//! # drop(queue);
//! # Ok(())
//! # }
//! ```
//!
//! # Floors
//!
//! From the ground up: a module names those below its own floor, and beside it those in its parentheses.
//!
//! 1. `delay` · `error` · `names`
//! 2. `access` · `envelope` · `session`
//! 3. `foreign` · `link`
//! 4. `lock` · `publisher`
//! 5. `catalogue` (`topology`) · `topology` (`catalogue`)
//! 6. `copy`
//! 7. `hub`
//! 8. `arrival` (`feed`, `hold`) · `feed` (`arrival`) · `hold` (`feed`) · `stats` · `sweep`
//! 9. `lease`
//! 10. `queue`
//! 11. `broker`
//! 12. `dead`

mod access;
mod arrival;
mod broker;
mod catalogue;
mod copy;
mod dead;
mod delay;
mod envelope;
mod error;
mod feed;
mod foreign;
mod hold;
mod hub;
mod lease;
mod link;
mod lock;
mod names;
mod publisher;
mod queue;
mod session;
mod stats;
mod sweep;
mod topology;

pub use broker::{RabbitBroker, RabbitOptions};
