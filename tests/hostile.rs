//! Guests that attack the host and their neighbours: what is seen of each, and that the neighbour is served.
//!
//! The guests lie in `guests/hostile/`, named by the row of the attack: `a01` to `a21`. One in Rust is a file in
//! `examples/` and its lines in `Cargo.toml`, one in WebAssembly text a file in `wat/`. Each becomes a constant, which a
//! test has to name for this to compile.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

#[path = "hostile/arena.rs"]
mod arena;
#[path = "hostile/bombs.rs"]
mod bombs;
#[path = "hostile/budgets.rs"]
mod budgets;
#[path = "hostile/guests.rs"]
mod guests;
#[path = "hostile/host.rs"]
mod host;
#[path = "hostile/limits.rs"]
mod limits;
#[path = "hostile/loading.rs"]
mod loading;
#[path = "hostile/output.rs"]
mod output;
#[path = "hostile/publishing.rs"]
mod publishing;
#[path = "hostile/traps.rs"]
mod traps;
#[path = "hostile/web.rs"]
mod web;
