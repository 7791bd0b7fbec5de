//! Messages by HTTP: a request that is signed, bounded and stored becomes a message of a topic, and is answered once the
//! broker has confirmed it.
//!
//! A listener is bound by [`Bound::bind`] and served by [`Ingress::serve`], with an [`Endpoint`] for each path.
//!
//! # Floors
//!
//! From the ground up: a module names those below its own floor, and beside it those in its parentheses.
//!
//! 1. `buffer` · `complaints` · `connections` · `problem` · `rate` · `spans` · `tls`
//! 2. `body` · `signature`
//! 3. `options`
//! 4. `events` · `listener` · `message` (`events`)
//! 5. `endpoint`
//! 6. `server`

mod body;
mod buffer;
mod complaints;
mod connections;
mod endpoint;
mod events;
mod listener;
mod message;
mod options;
mod problem;
mod rate;
mod server;
mod signature;
mod spans;
mod tls;

pub use endpoint::Endpoint;
pub use http::HeaderName;
pub use listener::{Bound, allow_files};
pub use options::{CloudEvents, EndpointOptions, ListenerOptions, TakenHeader};
pub use server::{Ingress, Watched};
pub use signature::{Method, Signature, SignatureError};
pub use tls::TlsFiles;
