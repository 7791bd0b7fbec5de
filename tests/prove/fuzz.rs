//! Input from outside that is random, or almost right: nothing of it may bring the host down or through its rules.
//!
//! Each target is tried for some seconds: `WASMPOST_FUZZ_SECONDS` says how many. What fails is made small and told, and is
//! kept as a test of its own, with its fix.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A fault fails the test.
#![allow(clippy::print_stderr)] // A proof tells its figures.

#[path = "fuzz/components.rs"]
mod components;
#[path = "fuzz/mutation.rs"]
mod mutation;
#[path = "../outcome.rs"]
mod outcome;
#[path = "fuzz/records.rs"]
mod records;
mod shared;
#[path = "fuzz/text.rs"]
mod text;
#[path = "fuzz/worlds.rs"]
mod worlds;

use std::fmt::Debug;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// How many cases are tried between two looks at the clock.
const CASES: u32 = 16;

/// Tries a target with one input after the other until the time is over.
fn fuzz<T: Debug>(name: &str, inputs: impl Strategy<Value = T>, target: impl Fn(T)) {
    let (began, mut cases) = (Instant::now(), 0);
    let seconds = Duration::from_secs(shared::number("WASMPOST_FUZZ_SECONDS", 2));
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_time: 20_000,
        max_shrink_iters: 10_000,
        ..Config::default()
    };
    while began.elapsed() < seconds {
        let tried = TestRunner::new(config.clone()).run(&inputs, |input| {
            target(input);
            Ok(())
        });
        if let Err(fault) = tried {
            panic!("{name}: {fault}");
        }
        cases += CASES;
    }
    eprintln!("{name}: {cases} inputs");
}
