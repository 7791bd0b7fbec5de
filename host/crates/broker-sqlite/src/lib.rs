//! The embedded durable queue: messages in one SQLite file, which the `sqlite3` shell can read.
//!
//! One thread owns the connection and commits in groups: callers hand it operations and are answered after the commit
//! that covers them has reached the disk. Leases live in memory; the file tells that a message is leased, by which run
//! of the process, and how often it was delivered, before the delivery is handed out.
//!
//! The schema is in `src/schema.sql`. A file of an earlier version is brought to it when it is opened.
//!
//! # Floors
//!
//! From the ground up: a module names those below its own floor, and beside it those in its parentheses.
//!
//! 1. `checkpoint` · `error` · `held`
//! 2. `damage` · `reader`
//! 3. `broker` (`channel`, `check`, `job`, `look`, `open`, `queue`, `stepper`, `store`, `writer`) ·
//!    `channel` (`job`, `lease`, `store`) · `check` (`look`, `store`) · `job` (`channel`, `store`) ·
//!    `lease` (`channel`, `store`) · `look` (`migrate`, `open`, `store`) · `migrate` (`store`) ·
//!    `open` (`broker`, `migrate`) · `queue` (`channel`) · `stepper` (`channel`, `store`, `writer`) ·
//!    `store` (`broker`, `channel`, `lease`, `open`) · `writer` (`channel`, `job`, `store`)

mod broker;
mod channel;
mod check;
mod checkpoint;
mod damage;
mod error;
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

pub use broker::{Durability, SqliteBroker, SqliteOptions};
pub use check::{FileReport, check_file};
pub use held::resolved;
#[cfg(feature = "prove")]
pub use stepper::{Step, Stepper};
