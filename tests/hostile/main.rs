//! Guests that attack the host and their neighbours: each gets its verdict, and the neighbour is served.
//!
//! The guests lie in `guests/hostile/`, named by the row of the attack: `a01` to `a22`. One in Rust is a file in
//! `examples/` and its lines in `Cargo.toml`, one in WebAssembly text a file in `wat/`. Each becomes a constant, which a
//! test has to name for this to compile.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

mod arena;
mod batching;
mod bombs;
mod budgets;
mod guests;
mod host;
mod limits;
mod loading;
mod output;
mod publishing;
mod traps;
mod web;
