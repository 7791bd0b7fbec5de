//! The local socket of a host: other commands publish, look and redrive through it while the host has the queue file.

mod client;
mod pipe;
mod protocol;
mod reach;
mod server;
mod socket;

pub use client::RemoteBroker;
pub use pipe::PipeOrder;
pub use reach::{Reached, SharedFile, reach};
pub use server::{Listener, listen};
pub use socket::socket_path;
