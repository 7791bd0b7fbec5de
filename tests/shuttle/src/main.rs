//! Structures in memory that threads meet in, under a scheduler that tries one interleaving after another. The sources are
//! those of the product, by links; only the primitives differ.
//!
//! `WASMPOST_SEEDS` says how many interleavings each test tries, `WASMPOST_SEED` which is the first.
#![allow(dead_code, unreachable_pub, missing_docs)] // Not all of the product is used here.

mod micros;
mod rooms;
mod share;
mod threads;

mod crew {
    //! The crew: the meeting point of messages that share an instance.
    pub(super) mod ledger;
    pub(super) mod roster;
    pub(super) mod together;
}

mod places;
mod scheduled;
mod shares;
mod sync;
mod turns;

use libtest_mimic::{Arguments, Trial};

/// The tests, run by a program of their own: built as tests, the product's sources would bring their unit tests along.
const TESTS: [(&str, fn()); 8] = [
    ("spawned_futures_are_polled_to_their_end", turns::spawned_futures_are_polled_to_their_end),
    ("an_end_drops_what_waits_and_what_is_woken_after_it", turns::an_end_drops_what_waits_and_what_is_woken_after_it),
    (
        "a_lane_that_goes_first_is_served_while_all_threads_are_at_work",
        turns::a_lane_that_goes_first_is_served_while_all_threads_are_at_work,
    ),
    ("no_more_enter_than_may_and_all_are_counted", shares::no_more_enter_than_may_and_all_are_counted),
    ("receivers_that_share_one_place_all_get_it", places::receivers_that_share_one_place_all_get_it),
    ("receivers_that_share_two_places_all_get_one", places::receivers_that_share_two_places_all_get_one),
    ("every_message_is_done_whoever_leaves_first", crew::together::every_message_is_done_whoever_leaves_first),
    ("an_instance_that_ends_lets_everybody_go", crew::together::an_instance_that_ends_lets_everybody_go),
];

fn main() {
    let trials = TESTS.map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit();
}
