//! What is of RabbitMQ itself.
#![allow(clippy::unwrap_used, clippy::panic)] // A fault fails the test.

mod server;

fn main() {
    server::run(|_| Vec::new());
}
