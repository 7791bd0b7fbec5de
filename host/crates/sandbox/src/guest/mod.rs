//! The state of a store for a delivery: the message, the grants, the outbox, the log and HTTP requests.

mod audit;
mod batch;
pub(crate) mod bindings;
pub(crate) mod bindings_async;
mod calls;
mod delivery;
mod grants;
mod handles;
mod lines;
mod log;
mod network;
mod origin;
mod requests;
mod state;
mod surroundings;
mod tasks;

pub(crate) use audit::{Denied, short};
pub(crate) use batch::Member;
pub(crate) use calls::Calls;
pub(crate) use delivery::{AttributeList, DeliveryState, Published, Writer, told};
pub use grants::{Grants, TopicPattern};
pub(crate) use handles::{Incoming, Lent, LentWriter};
pub(crate) use lines::{Lines, Outputs};
pub(crate) use log::GuestLog;
pub use log::{Level, LogRecord, LogSink, LogSource, TracingSink};
pub(crate) use network::Connector;
pub use network::{Network, Resolver, SystemResolver};
pub(crate) use origin::HttpHost;
pub use origin::HttpOrigin;
pub(crate) use requests::{Admitted, Asked, Http, Requests};
pub(crate) use state::{REPLY_TO, ReceiveBatch, Shared, StoreState};
pub(crate) use surroundings::Command;
pub use surroundings::Surroundings;
pub(crate) use tasks::Hook;
