//! Requests to the listener of a host that has a broker in memory: what is answered to whom.

mod answers;
mod escaping;
mod scene;
