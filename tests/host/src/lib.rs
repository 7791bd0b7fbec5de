//! Shared by end-to-end tests that use the host and its sandbox as libraries: a component with one message, and a host
//! to be proved.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)] // A fault fails the test.

pub mod outcome;
pub mod prove;
