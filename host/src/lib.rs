//! wasmpost hands each message of a queue to a sandboxed WebAssembly component, and sees to it that the message ends:
//! acknowledged, redelivered later, or dead-lettered.
//!
//! # Layout
//!
//! | crate | what |
//! |---|---|
//! | [`msg`] | messages, receivers, servers, topics, decorators |
//! | [`delivery`] | brokers, leases, retry policy, dead letters, the server of a queue |
//! | [`sandbox`] | a component as a receiver, behind limits |
//! | `wasmpost-broker-sqlite` | the embedded durable queue |
//! | `wasmpost-broker-rabbitmq` | RabbitMQ, with the feature `rabbitmq` |
//! | `wasmpost-ingress` | messages by HTTP |
//! | this one | configuration ([`config`]), brokers by URL ([`registry`]), the host ([`host`]), its admin listener ([`admin`]), messages in files ([`fixture`]), new projects ([`scaffold`]), the command line ([`cli`]) |
//!
//! # Floors
//!
//! From the ground up: a module names those below its own floor, and beside it those in its parentheses.
//!
//! 1. `gate` · `http` · `identity` · `kept` · `metrics` · `moving` · `tenant`
//! 2. `registry` · `view`
//! 3. `config` · `control`
//! 4. `admin` · `fixture`
//! 5. `host`
//! 6. `scaffold`
//! 7. `cli`

pub mod admin;
pub mod cli;
pub mod config;
pub mod control;
pub mod fixture;
pub mod gate;
pub mod host;
pub mod http;
pub mod identity;
pub mod kept;
pub mod metrics;
mod moving;
pub mod registry;
pub mod scaffold;
pub mod tenant;
mod view;

pub use wasmpost_delivery as delivery;
pub use wasmpost_msg as msg;
pub use wasmpost_sandbox as sandbox;
