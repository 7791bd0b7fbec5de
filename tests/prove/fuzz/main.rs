//! Random and almost valid input from outside: none of it may crash the host or break its rules.
//!
//! Each target is tried for some seconds: `WASMPOST_FUZZ_SECONDS` says how many. A failing input is made small and
//! printed, and is kept as a test of its own, with its fix.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A fault fails the test.
#![allow(clippy::print_stderr)] // A proof tells its figures.

mod components;
mod mutation;
mod records;
mod targets;
mod text;
mod worlds;

use std::fmt::Debug;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use wasmpost_tests_host::prove::number;

/// How long it may take between two looks at the clock, as far as that is known beforehand.
const ROUND: Duration = Duration::from_millis(200);
const CASES_MAX: u32 = 1024;

/// Tries a target with one input after the other until the time is over.
fn fuzz<T: Debug>(name: &str, inputs: impl Strategy<Value = T>, target: impl Fn(T)) {
    let began = Instant::now();
    let mut tried = 0;
    let mut cases = 1;
    let seconds = Duration::from_secs(number("WASMPOST_FUZZ_SECONDS", 2));
    while began.elapsed() < seconds {
        let round = Instant::now();
        let config = Config { cases, failure_persistence: None, max_shrink_time: 20_000, ..Config::default() };
        let outcome = TestRunner::new(Config { max_shrink_iters: 10_000, ..config }).run(&inputs, |input| {
            target(input);
            Ok(())
        });
        if let Err(fault) = outcome {
            panic!("{name}: {fault}");
        }
        tried += cases;
        cases = if round.elapsed() < ROUND { (cases * 2).min(CASES_MAX) } else { (cases / 2).max(1) };
    }
    eprintln!("{name}: {tried} inputs");
}
