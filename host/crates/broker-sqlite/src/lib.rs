//! The embedded durable queue: messages in one SQLite file, which the `sqlite3` shell can read.
//!
//! One thread owns the connection and commits in groups: callers hand it operations and are answered after the commit
//! that covers them has reached the disk. Messages are read ahead and leased in memory, which writes nothing. Before a
//! receiver gets a message, the delivery is noted in a second file, so that the next process knows the deliveries that
//! were in flight when this one ended. Acknowledgements are gathered for a moment and stored together.
//!
//! The schema is in `src/schema.sql`. A file of an earlier version is migrated when it is opened.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//!
//! use wasmpost_broker_sqlite::{ACK_FLUSH, ACK_FLUSH_MAX, Durability, SqliteBroker, SqliteOptions, check_file};
//! use wasmpost_delivery::{Broker, QueueSpec};
//! use wasmpost_msg::{Attributes, Publication};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let file = directory.path().join("queue.db");
//! // Acknowledgements are gathered for twice as long as usual, and the file has at most a gibibyte.
//! let options = SqliteOptions {
//!     durability: Durability::Gathered,
//!     ack_flush: (2 * ACK_FLUSH).min(ACK_FLUSH_MAX),
//!     bytes_max: Some(1 << 30),
//!     patience: Duration::from_secs(5),
//!     ..SqliteOptions::default()
//! };
//! let broker = SqliteBroker::open(&file, options).await?;
//! let queue = broker.queue(QueueSpec::new("orders")).await?;
//! broker.publish(vec![Publication::new("orders", Attributes::new(), "one")]).await?;
//! let delivery = queue.pull(1).await?.remove(0);
//! delivery.lease.begin()?;
//! delivery.lease.ack(Vec::new()).await?;
//! broker.close().await?;
//! assert!(check_file(&file).await?.faults.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! # Floors
//!
//! From the ground up: a module names those below its own floor, and beside it those in its parentheses.
//!
//! 1. `checkpoint` · `error` · `held`
//! 2. `damage` · `flight` · `reader`
//! 3. `acks` (`lease`) · `ahead` (`channel`, `lease`) · `broker` (`channel`, `check`, `job`, `look`, `open`, `queue`, `stepper`, `store`, `writer`) ·
//!    `channel` (`acks`, `ahead`, `job`, `lease`, `store`) · `check` (`look`, `store`) · `job` (`channel`, `store`) ·
//!    `lease` (`acks`, `channel`, `store`) · `look` (`migrate`, `open`, `store`) · `migrate` (`store`) ·
//!    `open` (`broker`, `migrate`) · `queue` (`ahead`, `channel`) · `stepper` (`channel`, `store`, `writer`) ·
//!    `store` (`ahead`, `broker`, `channel`, `open`) · `writer` (`acks`, `channel`, `job`, `store`)

mod acks;
mod ahead;
mod broker;
mod channel;
mod check;
mod checkpoint;
mod damage;
mod error;
mod flight;
mod held;
mod job;
mod lease;
mod look;
mod migrate;
mod open;
mod queue;
mod reader;
#[cfg(feature = "prove")]
mod stepper;
mod store;
mod writer;

pub use broker::{ACK_FLUSH, ACK_FLUSH_MAX, Durability, SqliteBroker, SqliteOptions};
pub use check::{FileReport, check_file};
pub use held::resolved;
#[cfg(feature = "prove")]
pub use stepper::{Step, Stepper};
