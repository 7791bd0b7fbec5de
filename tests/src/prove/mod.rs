//! The work of a host, seen from outside: its requests, its log and its queue file, and whether all of it adds up.

pub mod account;
pub mod letter;
pub mod log;
pub mod order;
pub mod seen;
pub mod steady;
pub mod trace;

use std::path::Path;

/// The program with points at which it may end and breaks. It does as it does without them unless the environment asks.
pub fn program() -> &'static Path {
    crate::program()
}
