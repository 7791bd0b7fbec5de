//! From a queue to a verdict: brokers, leases, retry policy, dead letters and the server that joins them.
//!
//! A [`Broker`] takes [`Publication`](wasmpost_msg::Publication)s and hands out [`Queue`]s. Pulling from a queue leases
//! deliveries. The [`QueueServer`] hands each to a receiver, asks the [`RetryPolicy`] for a verdict, and settles the
//! [`Lease`]: ack, nack or reject. Features that a broker lacks are added here, guided by its [`Capabilities`].
//!
//! This crate knows no WebAssembly. It contains the broker in memory ([`memory`]) and, with the feature `conformance`,
//! the suite that every broker passes.
//!
//! # Floors
//!
//! From the ground up: a module names those below its own floor, and beside it those in its parentheses.
//!
//! 1. `access` · `error` · `micros` · `retry` · `site` · `sync` · `timestamp`
//! 2. `admission` · `dead_letter` · `forgotten` · `observer` · `prove` · `quota` · `threads`
//! 3. `clock` · `history` · `lease` · `share`
//! 4. `broker` · `outbox`
//! 5. `conformance` · `forward` · `memory`
//! 6. `server`

mod access;
mod admission;
mod broker;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod dead_letter;
mod error;
mod forgotten;
mod forward;
mod history;
mod lease;
pub mod memory;
mod micros;
mod observer;
mod outbox;
#[doc(hidden)]
pub mod prove;
mod quota;
mod retry;
mod server;
mod share;
mod site;
mod sync;
mod threads;
mod timestamp;

pub use access::Access;
pub use admission::Admission;
pub use broker::{Broker, Capabilities, Queue, QueueSpec, QueueStats, Receipt};
pub use clock::Clock;
pub use dead_letter::{
    Attempt, AttemptVerdict, DeadLetter, DeadLetterFilter, DeadLetters, Evidence, HISTORY_MAX, Listed, PAGE_BYTES_MAX,
    Page, Paged,
};
pub use error::{BrokerError, BrokerErrorKind};
pub use forgotten::ForgottenIds;
pub use forward::Forward;
pub use history::{CRASHES_MAX, IDS_MAX};
pub use lease::{Delivery, Lease, Nack, Renewer};
pub use observer::{Observer, Settled};
pub use outbox::{HOPS_MAX, forwarded};
pub use quota::{Quotas, TOPICS_MAX, TenantQuota, WaitingTopics};
pub use retry::{RetryPolicy, Verdict};
pub use server::{BatchOptions, BreakerState, QueueServer, QueueServerOptions};
pub use share::{Share, ShareUsage};
pub use site::Site;
pub use threads::{Lane, Preempt, Threads};
pub use timestamp::Timestamp;
pub use wasmpost_msg::topic_name_fault;
